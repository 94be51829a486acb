"""Ways to look for a better program, by name."""

from archrepair_jax.programs.techniques.autotrainer import AUTOTRAINER
from archrepair_jax.programs.techniques.contract import Technique
from archrepair_jax.programs.techniques.guided import GUIDED
from archrepair_jax.programs.techniques.local import LOCAL
from archrepair_jax.programs.techniques.samplers import SAMPLERS

TECHNIQUES: dict[str, Technique] = {**SAMPLERS, **AUTOTRAINER, **LOCAL, **GUIDED}
