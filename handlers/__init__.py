"""What runs inside the model server: the handler that goes into the archive, and how TorchServe is to run it."""
