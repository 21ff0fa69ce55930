import signal
import threading

import pytest

from flare_train.signals import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_sets_the_flag_and_its_name(number):
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert (stop.requested, stop.name) == (True, number.name)


def test_handlers_are_put_back_even_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) == before


def test_works_without_handlers_outside_the_main_thread():
    seen = []

    def run():
        with StopRequest() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]
