"""The store of trials, in Optuna's words: an SQLite file or a PostgreSQL server, which its dashboard reads too."""

import contextlib
import datetime
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from archrepair_jax import __version__
from archrepair_jax.errors import InputError
from archrepair_jax.programs.space import Interval, Space

BEAT, GRACE = 2, 20  # seconds between two signs of life of a trial, and without one until it counts as lost

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")  # a thread of ours gives it


def opened(url: str, name: str, owner: Mapping[str, str]) -> tuple[RDBStorage, optuna.Study]:
    """A store, and the study of a name in it, made if it is not there.

    Raises InputError for a store that cannot be reached, or a study of another owner, which says what differs.
    """
    owner = {"version": __version__, **owner}
    lost = {"heartbeat_interval": BEAT, "grace_period": GRACE, "heartbeat_stale_trial_callback": queue_again}
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    try:
        storage = RDBStorage(url, engine_kwargs=options, **lost)
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        there = study.user_attrs.get("owner")
        if there is None:
            study.set_user_attr("owner", owner)
    except ImportError as error:
        raise InputError(f"storage={url} needs a driver ({error}): python -m pip install 'psycopg[binary]'") from error
    except (SQLAlchemyError, RuntimeError) as error:
        raise InputError(f"storage={url} cannot be used: {str(error).splitlines()[0]}") from error
    if url.startswith("sqlite"):
        event.listen(storage.engine, "connect", lasting)
        storage.engine.dispose()  # so that the connections to come are all of that kind
    for key, value in owner.items():
        if there is not None and there.get(key) != value:
            raise InputError(f"storage={url} holds a search of another {key}: {there.get(key)}, this is {value}")
    return storage, study


def lasting(connection: Any, _record: Any) -> None:
    """Lets SQLite write ahead: what is told survives a killed process, at a tenth of the time."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def fill(trial: Trial, space: Space) -> None:
    """Asks for a value of every field. Not together with the trial, so that it shows signs of life by then."""
    for name, each in space.domains.items():
        if isinstance(each, Interval):
            trial.suggest_float(name, each.low, each.high, log=each.log)
        else:
            trial.suggest_categorical(name, each)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    return {
        name: FloatDistribution(each.low, each.high, log=each.log)
        if isinstance(each, Interval)
        else CategoricalDistribution(each)
        for name, each in space.domains.items()
    }


@contextlib.contextmanager
def alive(storage: RDBStorage, trial: Trial) -> Iterator[None]:
    """Inside, the store hears every ``BEAT`` seconds that a trial is under way."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT):
            with contextlib.suppress(SQLAlchemyError, StorageInternalError):  # a busy store hears the next one
                storage.record_heartbeat(trial._trial_id)

    storage.record_heartbeat(trial._trial_id)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Puts what a lost trial tried back in the queue; the lost one counts for nothing."""
    study.enqueue_trial(dict(trial.params))


def recover(study: optuna.Study, *, alone: bool = False) -> None:
    """Finds trials whose worker died, and puts them back in the queue.

    A worker that is ``alone`` in a store knows that all trials under way are lost; others wait for ``GRACE``, and ten
    times that for one that has no values yet.
    """
    now = datetime.datetime.now()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        unborn = not trial.params and (now - trial.datetime_start).total_seconds() > 10 * GRACE
        if alone or unborn:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        if alone:
            queue_again(study, trial)
    optuna.storages.fail_stale_trials(study)


def paid(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have ended and were paid for, in the order in which they began."""
    return [trial for trial in trials if trial.state.is_finished() and "passes" in trial.user_attrs]
