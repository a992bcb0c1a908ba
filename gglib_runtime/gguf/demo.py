"""The demo model: what `gglib up` serves where there is no real one.

Not here: how a tiny model is built (`tiny`), and when the demo is called for (the CLI).
"""

from __future__ import annotations

from pathlib import Path

from gglib_runtime.gguf.tiny import TinyLlama, word_vocabulary
from gglib_runtime.gguf.writer import write_atomically

DEMO_NAME = "gglib demo: random weights, writes nonsense"
DEMO_DESCRIPTION = (
    "A placeholder that gglib wrote itself to show that everything works. It has learned nothing: "
    "its words are picked at random. Add a real model with `gglib model add PATH`."
)

_WORDS = """
    a amber an and any apple as at autumn barn basket before below birch bird blue boat bread
    breeze bright brook brown by candle cedar chair clay clear clock cloud coal coast cold copper
    corn crow daisy dark dawn deep deer door down dry dusk early east elm ember evening every fern
    field fig fire fish flint flower fog for forest fox frost garden gate glass gold grain grass
    green grey hazel heron hill honey house in iron island ivy juniper kettle lake lamp lark late
    leaf light lily linen long low maple meadow milk mint mist moon morning moss near nest night
    north oak of often old olive on open or orchard otter over owl paper path pear pebble pine
    plum pond quiet quince rain raven red reed river road robin roof rose rye salt sand seed shell
    silver slow small snow soft song south sparrow spring star still stone summer sun swan sweet
    table tall tea the thistle through thyme tide to tower under valley violet walnut warm water
    wheat white wide wild willow wind window winter with wood wool wren yellow young
"""


def write_demo_model(path: Path) -> None:
    """Write the demo model to `path`, whole or not at all: 1 MB, in well under a second.

    The bytes are the same each time. Its directory must exist. Raises OSError.
    """
    design = TinyLlama(
        name=DEMO_NAME,
        description=DEMO_DESCRIPTION,
        vocabulary=word_vocabulary(_WORDS.split()),
        seed=7,
    )
    write_atomically(path, design.encode())
