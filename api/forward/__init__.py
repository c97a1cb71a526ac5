"""A call on its way: its body → its image → the model server."""
