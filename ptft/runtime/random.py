"""Random numbers without a state: every order and every draw is a pure function of numbers that are known anyway.

The order of the training stream is a keyed permutation of (seed, epoch, position): a Feistel network with cycle walking
(Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002), so that no list of all examples is ever made. Draws
are integer hashes of (seed, epoch, index, name, slot): each example has a SplitMix64 generator of its own (Steele, Lea
and Flood, Fast Splittable Pseudorandom Number Generators, 2014). Resuming, other workers, other ranks or another cut of
the batch therefore change nothing, and no global generator is touched.
"""

import hashlib
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

BLOCK = 8192
"""Positions of the training stream worked out at once; a small batch is then a slice of a cached block."""
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """Return the 64 bits of `value` as the int64 that torch takes."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


# Increment and multipliers of SplitMix64.
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_STRIDE = _signed(_GOLDEN)
# Odd constants that keep the arguments of `seed_for` apart: the fractional bits of the square roots of 2, 3, 5 and 7.
_APART = (0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1)


# ---- Hashing ------------------------------------------------------------------------------------------------------


def mix_integer(value: int) -> int:
    """Return a 64-bit hash of an integer: the output function of SplitMix64."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def mix_tensor(value: Tensor) -> Tensor:
    """Return the hash of `mix_integer` for each element of an int64 tensor of any shape, as the same 64 bits signed."""
    # torch shifts arithmetically: the masks clear the copies of the sign bit.
    value = ((value >> 30).bitwise_and_((1 << 34) - 1)).bitwise_xor_(value).mul_(_signed(_FIRST))
    value = ((value >> 27).bitwise_and_((1 << 37) - 1)).bitwise_xor_(value).mul_(_signed(_SECOND))
    return ((value >> 31).bitwise_and_((1 << 33) - 1)).bitwise_xor_(value)


@lru_cache(maxsize=1024)
def _hash_text(text: str) -> int:
    """Return 64 bits of a text, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def seed_for(seed: int, step: int, micro_batch: int = 0, rank: int = 0) -> int:
    """Return a seed in [0, 2**63) for what draws from a torch generator, such as dropout.

    Args:
        seed: Seed of the run.
        step: Number of the optimizer step.
        micro_batch: Number of the micro-batch within the step.
        rank: Number of the process.
    """
    return mix_integer(seed * _APART[0] + step * _APART[1] + micro_batch * _APART[2] + rank * _APART[3]) >> 1


# ---- Order --------------------------------------------------------------------------------------------------------


def permute(positions: Tensor, size: int, seed: int, epoch: int | Tensor) -> Tensor:
    """Return where a keyed permutation of `size` things puts each position.

    Args:
        positions: (N,) int64 in [0, size).
        size: Number of things permuted, at most 2**62.
        seed: With `epoch` the key: another key, another permutation.
        epoch: One number, or one for each position: (N,) int64.
    """
    if isinstance(epoch, int):
        key = torch.full_like(positions, _signed(mix_integer(mix_integer(seed) + epoch * _GOLDEN)))
    else:
        key = mix_tensor(epoch * _STRIDE + _signed(mix_integer(seed)))
    # The network permutes a rectangle that is at most about sqrt(size) larger than asked; places outside are walked on.
    rows = math.isqrt(size - 1) + 1 if size > 1 else 1
    columns = -(-size // rows)
    # With fewer rounds neighbours in the order, or the orders of tiny sets, are not independent (counted in the tests).
    rounds = 8 if size > 256 else 16
    places = _feistel(positions, rows, columns, key, rounds)
    outside = (places >= size).nonzero()[:, 0]
    while len(outside):
        walked = _feistel(places[outside], rows, columns, key[outside], rounds)
        places[outside] = walked
        outside = outside[walked >= size]
    return places


def _feistel(places: Tensor, rows: int, columns: int, key: Tensor, rounds: int) -> Tensor:
    """Permute the places [0, rows * columns): in turn, each coordinate is rotated by a hash of the other."""
    row = torch.div(places, columns, rounding_mode="trunc")
    column = places - row * columns
    for turn in range(rounds):
        known, moved, length = (column, row, rows) if turn % 2 == 0 else (row, column, columns)
        bits = (known * _STRIDE).add_(key + _signed(turn * _SECOND))
        bits.bitwise_xor_(bits >> 32).mul_(_signed(_FIRST))  # need not be one to one: only the top half is used
        shift = (bits >> 32).bitwise_and_((1 << 32) - 1).mul_(length).bitwise_right_shift_(32)  # in [0, length)
        moved.add_(shift).sub_(length)
        moved.add_((moved >> 63).bitwise_and_(length))  # back by `length` where that went below 0
    return row.mul_(columns).add_(column)


@lru_cache(maxsize=8)
def _block(number: int, size: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return index and epoch, (BLOCK,) int64 each, of the positions from number * BLOCK on."""
    positions = torch.arange(number * BLOCK, (number + 1) * BLOCK)
    epoch = positions // size
    return permute(positions - epoch * size, size, seed, epoch).to(device), epoch.to(device)


def stream_indices(
    step: int, batch_size: int, size: int, seed: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return index and epoch, (batch_size,) int64 each, of the examples of one step of the training stream.

    The stream is an endless row of epochs, each a permutation of the `size` examples; the step takes the positions
    [step * batch_size, (step + 1) * batch_size). The tensors are slices of a cache: do not change them.

    Args:
        step: Number of the step, from 0.
        batch_size: Examples of one step.
        size: Examples of one epoch.
        seed: Seed of the order.
        device: Where the tensors must lie.
    """
    device = torch.device(device) if isinstance(device, str) else device
    begin = step * batch_size
    number, offset = divmod(begin, BLOCK)
    if offset + batch_size <= BLOCK:
        index, epoch = _block(number, size, seed, device)
        return index[offset : offset + batch_size], epoch[offset : offset + batch_size]
    blocks = [_block(n, size, seed, device) for n in range(number, (begin + batch_size - 1) // BLOCK + 1)]
    index, epoch = (torch.cat(column)[offset : offset + batch_size] for column in zip(*blocks, strict=True))
    return index, epoch


# ---- Draws --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _normal_quantiles(device: torch.device) -> Tensor:
    """Return the 65,536 quantiles of the standard normal distribution in the middle of equal shares, float32."""
    shares = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles.float().to(device)


@lru_cache(maxsize=8)
def _beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    """Return the 65,536 quantiles of Beta(alpha, alpha) in the middle of equal shares, float32."""
    from scipy.special import betaincinv  # a third of a second to import, for those who mix images

    shares = (np.arange(1 << 16) + 0.5) / (1 << 16)
    return torch.from_numpy(betaincinv(alpha, alpha, shares)).float().to(device)


class Draws:
    """Random draws for each example of a batch, each a function of (seed, epoch, index, name, slot) alone.

    A slot is the number of a draw within one user; `child` gives a user of its own to each name. Asking twice for the
    same slot gives the same values.
    """

    __slots__ = ("_key", "_offset")

    def __init__(self, seed: int, epoch: Tensor, index: Tensor) -> None:
        """Prepare draws for the examples `index`, (B,) int64, in their epochs, (B,) int64."""
        self._key = mix_tensor((index * _STRIDE).add_(epoch * _signed(_APART[0])).add_(_signed(mix_integer(seed))))
        self._offset = 0  # where the numbers of this user begin within the generator of each example

    @classmethod
    def _of(cls, key: Tensor, offset: int) -> "Draws":
        draws = cls.__new__(cls)
        draws._key, draws._offset = key, offset
        return draws

    def __len__(self) -> int:
        return len(self._key)

    def child(self, name: str) -> "Draws":
        """Return draws that have nothing to do with these, for a user called `name`."""
        return self._of(self._key, mix_integer(self._offset + _hash_text(name)))

    def repeat(self, times: int) -> "Draws":
        """Return draws for a batch in which each example stands `times` times in a row, all of them different."""
        return self._of(self.child("repeat").bits(0, times).flatten(), 0)

    def bits(self, slot: int, *shape: int) -> Tensor:
        """Return 64 random bits as int64 for each example: (B, *shape)."""
        begin = self._offset + (slot << 32) * _GOLDEN
        if not shape:
            return mix_tensor(self._key + _signed(begin))
        steps = torch.arange(math.prod(shape), device=self._key.device).mul_(_STRIDE).add_(_signed(begin))
        return mix_tensor(self._key[:, None] + steps).view(len(self._key), *shape)

    def uniform(self, slot: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return float32 evenly spread over [low, high) in steps of 2**-24 of that range: (B, *shape)."""
        share: Tensor = (self.bits(slot, *shape) >> 40).bitwise_and_((1 << 24) - 1).float().mul_(2.0**-24)
        return share if low == 0 and high == 1 else share.mul_(high - low).add_(low)

    def integers(self, slot: int, high: int, *shape: int) -> Tensor:
        """Return int64 evenly spread over [0, high), with high at most 2**31: (B, *shape)."""
        return (self.bits(slot, *shape) >> 32).bitwise_and_((1 << 32) - 1).mul_(high).bitwise_right_shift_(32)

    def normal(self, slot: int, *shape: int) -> Tensor:
        """Return standard normal float32: (B, *shape).

        Each is one of 65,536 equally likely quantiles (at most 4.2 standard deviations away), looked up in a table:
        unlike a logarithm or a cosine, that gives the same bits on every device and for every cut of the batch.
        """
        return self._look_up(_normal_quantiles(self._key.device), slot, *shape)

    def beta(self, slot: int, alpha: float, *shape: int) -> Tensor:
        """Return float32 in [0, 1] from Beta(alpha, alpha), with alpha above 0: (B, *shape).

        Looked up among 65,536 equally likely quantiles, as the normal ones are.
        """
        return self._look_up(_beta_quantiles(alpha, self._key.device), slot, *shape)

    def _look_up(self, quantiles: Tensor, slot: int, *shape: int) -> Tensor:
        place = (self.bits(slot, *shape) >> 48).bitwise_and_((1 << 16) - 1)
        return quantiles.index_select(0, place.flatten()).view(place.shape)
