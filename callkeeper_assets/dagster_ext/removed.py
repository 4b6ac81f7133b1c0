"""What Dagster keeps of a source that is removed: it would stay in its UI for ever."""

from collections.abc import Collection, Iterable, Sequence

import dagster as dg


def drop_states(instance: dg.DagsterInstance, names: Collection[str]) -> None:
    """Forget of schedules and sensors of these names whether somebody has switched them off."""
    for state in instance.all_instigator_state():
        if state.instigator_name in names:
            instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)


def drop_assets(
    instance: dg.DagsterInstance, folder: Sequence[str], others: Iterable[Sequence[str]] = ()
) -> None:
    """Take assets out of the catalogue, where they would stand without a definition.

    Args:
        instance: Dagster's.
        folder: What their keys begin with.
        others: Keys that do not begin so.
    """
    known = set(instance.get_asset_keys(prefix=folder))
    known |= {dg.AssetKey(key) for key in others} & set(instance.get_asset_keys())
    instance.wipe_assets(list(known))
