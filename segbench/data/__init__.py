"""Images with pixel masks: the data set on disk, its augmentation, its batches."""
