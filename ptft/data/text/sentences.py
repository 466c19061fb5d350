"""Sentences of a text: a line break ends one, and so does what ends a sentence in print.

No abbreviation is known: after `Mr.` a sentence ends too. Text with one sentence a line is cut exactly.
"""

import re

_ENDS = re.compile(r"""(?<=[.!?…])["'”’)\]]*[ \t]+|(?<=[。！？])(?![。！？”’」』）])|\n+""")
"""What lies between two sentences: white space behind an end, nothing behind a Chinese one, or line breaks."""


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, in order, without white space around them; all other characters are kept."""
    found, begin = [], 0
    for match in _ENDS.finditer(text):
        found.append(text[begin : match.end()].strip())
        begin = match.end()
    found.append(text[begin:].strip())
    return [sentence for sentence in found if sentence]
