"""The data plane: from a client's socket to the region's upstream and back."""
