"""What may not happen too often, and whose call it is."""
