"""`ml-service serve`: both servers, supervised, in a folder of their own."""
