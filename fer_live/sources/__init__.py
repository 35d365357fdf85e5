"""Sources of frames: cameras, streams, video files and images. Imports nothing, so that the doctor can use `v4l2`."""
