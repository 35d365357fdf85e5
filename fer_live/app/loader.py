"""Loads the classifier while the program imports the rest and opens the source."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fer_live.app.config import AnalysisConfig

if TYPE_CHECKING:  # imported in the thread
    from fer_live.analysis.classifier import EmotionClassifier
    from fer_live.analysis.runtimes.compiled_cache import CompiledCache


STORE_S = 2.0  # seconds to wait for a slow disk


class ClassifierLoader:
    """Starts loading at once. Call it for the classifier: it waits, and raises CheckpointError or DeviceError from the thread.

    cache: for compiled networks; None: nothing is stored. A network is stored after the classifier is ready, beside the run.
    """

    def __init__(self, config: AnalysisConfig, cache: CompiledCache | None = None):
        self.config, self.cache = config, cache
        self._ready = threading.Event()
        self._loaded: EmotionClassifier | None = None
        self._error: BaseException | None = None
        self.took_s = 0.0  # seconds; valid after the call
        # no daemon thread: if the interpreter ends under a runtime's compiler, C++ aborts the process (exit status 134)
        self._thread = threading.Thread(target=self._load, name="load classifier")
        from fer_live.analysis.classifier import uses_openvino

        is_openvino = uses_openvino(config.model, config.device, config.runtime)
        if is_openvino:
            from fer_live.analysis.runtimes.openvino_network import import_openvino
        self._thread.start()
        if is_openvino:
            # Of two threads that import at the same time, each waits 5 ms for the other at every file. So this thread imports
            # OpenVINO while the other hashes files; then the other compiles the network while this one imports the rest.
            with suppress(Exception):  # raised in the thread
                import_openvino()

    def _load(self) -> None:
        started_s = time.monotonic()
        try:
            from fer_live.analysis.classifier import EmotionClassifier

            config = self.config
            self._loaded = EmotionClassifier(config.model, config.device, config.head, config.runtime, self.cache)
        except BaseException as caught:  # raised in the caller
            self._error = caught
        self.took_s = time.monotonic() - started_s
        self._ready.set()
        if self.cache is not None and self._loaded is not None:
            self._loaded.store()

    def __call__(self) -> EmotionClassifier:
        """Return the classifier as soon as it is ready."""
        self._ready.wait()
        if self._error is not None:
            raise self._error
        assert self._loaded is not None
        return self._loaded

    def close(self) -> None:
        """Wait until the network is stored, a few hundredths of a second, so that short runs store it too."""
        if self._ready.is_set():
            self._thread.join(STORE_S)
