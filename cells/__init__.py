"""One image file -> one cell: decoding, finding the cell, segmenting a smear."""
