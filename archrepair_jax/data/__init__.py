"""Data: sources, splits, augmentation and corruptions; host arrays in, uint8 images and int32 labels out."""
