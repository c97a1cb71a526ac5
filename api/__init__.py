"""The Litestar API in front of the model server."""
