"""Fine-tunes networks on facial expressions and saves `best_model.pt`.

    data -> augment -> train -> evaluate -> report

`python -m training --help` trains; `python -m training.evaluate --help` measures a checkpoint.
This package imports `models` and never `fer_live`.
"""
