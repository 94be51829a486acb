"""From the relaxed block to one architecture, with the weights it has learned."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from archrepair_jax.models.network import Variables
from archrepair_jax.precision import exact
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings, SearchState
from archrepair_jax.search.cell import (
    Genotype,
    arrow,
    beside,
    candidate_name,
    edge_name,
    full_masks,
    mixing_weights,
)
from archrepair_jax.search.operations import ORIGINAL
from archrepair_jax.training.batches import draw_batch
from archrepair_jax.training.ledger import note_forward
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import mean, replicate


def largest_alpha(search: Search, state: SearchState) -> Genotype:
    """On every edge the candidate with the largest alpha, as DARTS decides."""
    space = search.relaxation.space
    return Genotype(space, tuple(space.candidates(e)[int(state.alphas[edge_name(e)].argmax())] for e in space.edges))


def by_perturbation(
    search: Search, state: SearchState, data: SearchData, settings: SearchSettings, key: jax.Array, loop: Loop
) -> tuple[Genotype, SearchState, dict[str, list[float]]]:
    """DARTS-PT (Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021).

    Edge by edge, in random order: each candidate is taken out in turn, the one whose absence hurts the validation loss
    most stays alone, and the weights get some steps to settle. Alphas tell how an operation is mixed, not how much
    the network needs it.

    Returns:
        The genotype, the state after the last steps, and for each edge the validation loss without each candidate.
    """
    space, masks, losses = search.relaxation.space, full_masks(search.relaxation.space), {}
    judge = validation_judge(search, data, settings, loop)
    for turn, position in enumerate(jax.random.permutation(key, len(space.edges)).tolist()):
        edge = space.edges[position]
        name, count = edge_name(edge), len(space.candidates(edge))
        without = [judge(state, masks | {name: masks[name].at[i].set(0)}) for i in range(count)]
        losses[arrow(edge)] = without
        masks[name] = jnp.zeros(count).at[int(np.argmax(without))].set(1)
        state, _ = loop.run(
            f"projection{turn}", search.weight_step, state, data.replace(masks=masks), steps=settings.projection_steps
        )
    choices = (space.candidates(edge)[int(masks[edge_name(edge)].argmax())] for edge in space.edges)
    return Genotype(space, tuple(choices)), state, losses


def validation_judge(search: Search, data: SearchData, settings: SearchSettings, loop: Loop):
    """A function of (state, masks) giving the loss on the first ``selection_examples`` of the validation pool."""

    @exact
    def judge(judged, data):
        state, masks = judged
        batch = draw_batch(data.validation, jnp.int32(0), settings.selection_examples, search.tuning.failing_share)
        note_forward(len(batch.labels))
        loss, _ = search.loss(state.weights, state.alphas, state.statistics, data.replace(masks=masks), batch)
        return judged, {"loss": mean(loss)}

    data = replicate(data, loop.devices)
    return lambda state, masks: float(loop.call("selection", judge, (state, masks), data)[1]["loss"][0])


def inherit(state: SearchState, genotype: Genotype, template: Variables) -> Variables:
    """The found block's variables: what the relaxed block has learned for the chosen candidates.

    A chosen operation's mixing weight goes into its normalisation, so that it counts as much as it did in the mixture;
    the original branch goes in whole. ``template`` has the structure that the found block needs.
    """
    mixture = mixing_weights(state.alphas, full_masks(genotype.space))
    scales = {
        candidate_name(edge, choice): mixture[edge_name(edge)][genotype.space.candidates(edge).index(choice)]
        for edge, choice in genotype
        if choice != ORIGINAL
    }
    learned = {"params": state.weights, "batch_stats": state.statistics}
    flat = traverse_util.flatten_dict(learned)

    def value(path: tuple[str, ...]) -> Any:
        return (
            flat[path] * scales[path[1]] if path[0] == "params" and "norm" in path and path[1] in scales else flat[path]
        )

    return traverse_util.unflatten_dict({path: value(path) for path in traverse_util.flatten_dict(template)})


def silenced(variables: Variables, original: Variables, genotype: Genotype) -> Variables | None:
    """The found block's variables at which it computes what the original does; None if the original was dropped.

    The original branch has its own weights again and the operations into the output are scaled to zero, so the line
    from here to ``variables`` fades the repair in.
    """
    choices = dict(genotype)
    if choices[genotype.space.direct] != ORIGINAL:
        return None
    into_output = {candidate_name(edge, choice) for edge, choice in genotype if edge[1] == genotype.space.direct[1]} - {
        ORIGINAL
    }
    params = traverse_util.flatten_dict(variables["params"])
    params = {
        path: jnp.zeros_like(leaf) if path[0] in into_output and "norm" in path else leaf
        for path, leaf in params.items()
    }
    return beside(variables | {"params": traverse_util.unflatten_dict(params)}, original)
