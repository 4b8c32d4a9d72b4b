"""What people look at. Reads run folders, never needs torch."""
