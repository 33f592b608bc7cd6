"""One cell -> named features: colour, geometric, texture and statistical."""
