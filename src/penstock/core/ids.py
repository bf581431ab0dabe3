"""Identifiers, all drawn from one seeded source so that a run can be repeated."""

import random
import string
from typing import Final

_LOWER_ALNUM: Final = string.ascii_lowercase + string.digits
_UPPER_ALNUM: Final = string.ascii_uppercase + string.digits
# The two highest bits of this digit are fixed in a UUID.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Ids:
    """Random identifiers in the shapes AWS uses. Hand in a seed to get the same ones again."""

    def __init__(self, seed: int | None = None) -> None:
        self.random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
        # A fast generator seeded from the system's entropy: unguessability is the receipt signature's job.
        self._bits = random.Random(self.random.getrandbits(256)).getrandbits

    def uuid(self) -> str:
        """A version 4 UUID as text."""
        text = f"{self._bits(128):032x}"
        return (
            f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"
        )

    def token(self, length: int) -> str:
        """`length` lower-case letters and digits, as in API Gateway identifiers."""
        return "".join(self.random.choice(_LOWER_ALNUM) for _ in range(length))

    def upper_token(self, length: int) -> str:
        """`length` upper-case letters and digits, as in IAM identifiers."""
        return "".join(self.random.choice(_UPPER_ALNUM) for _ in range(length))

    def hex(self, digits: int) -> str:
        """`digits` hexadecimal digits."""
        return f"{self._bits(digits * 4):0{digits}x}"

    def secret(self) -> str:
        """40 characters, as in a secret access key."""
        alphabet = string.ascii_letters + string.digits + "+/"
        return "".join(self.random.choice(alphabet) for _ in range(40))
