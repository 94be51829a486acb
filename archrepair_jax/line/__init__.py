"""The line of stages, obtain to record, for images and for regions, and its work folder."""
