"""One image file -> one cell: decode the image, find the cell, segment a smear."""
