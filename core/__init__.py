"""What every other package builds on: errors, files, text and plotting."""
