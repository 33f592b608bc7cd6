"""One cell -> named numbers: colour, geometric, texture and statistical features."""
