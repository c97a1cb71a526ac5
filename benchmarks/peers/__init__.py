"""How else the same model is served: each peer as its own documentation has it, on the same weights and images."""
