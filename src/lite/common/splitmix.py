"""splitmix64, the generator of the program's random numbers."""
import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(state: np.uint64, count: int) -> tuple[np.ndarray, np.uint64]:
    """The next `count` numbers, u64, and the state after them."""
    with np.errstate(over="ignore"):
        x = state + np.arange(1, count + 1, dtype=np.uint64) * STEP
        state = state + np.uint64(count) * STEP
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31), state
