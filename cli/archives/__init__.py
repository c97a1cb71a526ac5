"""The .mar of a model: its weights, what they are called, and machine code."""
