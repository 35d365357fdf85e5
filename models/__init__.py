"""What training and the live app share: networks, preprocessing, checkpoints, shipped weights.

This package imports neither `training` nor `fer_live`; both import it.
"""
