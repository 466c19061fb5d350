"""The contract of an augmentation, and the random draws it takes.

An augmentation changes a whole batch at once, on the device the batch lies on. Its randomness is an integer hash of
(seed, epoch, index, name, slot), so that resuming, other workers or another number of ranks change nothing.
"""
