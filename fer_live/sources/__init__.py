"""Where frames come from: cameras, streams, video files, pictures. Imports nothing, so that the doctor can use `v4l2`."""
