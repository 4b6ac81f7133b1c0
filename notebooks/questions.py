"""Ten business questions in pandas, over the view `calls`: a notebook of marimo.

`marimo edit notebooks/questions.py`, in an environment with `callkeeper-assets` and marimo. It
reads where the commands do: see docs/python.md. The same in SQL: the folder `questions`.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")


@app.cell
def _():
    import pandas as pd

    import callkeeper_assets as ck

    with ck.connect() as connection:
        calls = pd.read_sql("SELECT * FROM calls", connection, dtype_backend="pyarrow")
    calls["answered"] = calls["outcome"] == "answered"
    calls["missed"] = calls["outcome"].isin(["missed_by_manager", "missed_by_client"])
    talks = calls[calls["answered"]]
    return calls, talks


@app.cell
def _(calls):
    # Which campaigns bring calls, week by week, and how many become a talk?
    by_campaign = calls.dropna(subset="campaign").groupby(["week_start", "campaign"])
    campaigns_by_week = by_campaign["answered"].agg(calls="size", answered="sum").reset_index()
    campaigns_by_week
    return (campaigns_by_week,)


@app.cell
def _(calls):
    # When do managers miss calls, by weekday and hour?
    by_manager = calls[calls["outcome"] == "missed_by_manager"]
    missed_by_hour = by_manager.groupby(["weekday", "hour"]).size().reset_index(name="missed")
    missed_by_hour
    return (missed_by_hour,)


@app.cell
def _(talks):
    # How much does each manager talk?
    of_manager = talks.groupby("manager")["talk_sec"]
    talk_by_manager = of_manager.agg(["size", "sum", "mean"]).reset_index()
    talk_by_manager
    return (talk_by_manager,)


@app.cell
def _(calls):
    # Who orders calls again and again? A second attempt of the same order is none.
    is_order = (calls["attempt"].fillna(1) == 1) & ~calls["outcome"].isin(["duplicate", "test"])
    orders = calls[is_order].groupby("client_phone")["date"].agg(["size", "min", "max"])
    repeat_callers = orders[orders["size"] > 1].reset_index()
    repeat_callers
    return (repeat_callers,)


@app.cell
def _(calls):
    # How long does it take until client and manager talk, by the hour of the call?
    answers = calls.dropna(subset="answer_sec").groupby("hour")["answer_sec"]
    time_to_answer = answers.agg(["size", "median", "max"]).reset_index()
    time_to_answer
    return (time_to_answer,)


@app.cell
def _(calls):
    # Which attempt succeeds?
    by_attempt = calls[calls["is_final"]].groupby("attempt")["answered"]
    attempts_to_success = by_attempt.agg(["size", "sum", "mean"]).reset_index()
    attempts_to_success["mean"] *= 100
    attempts_to_success
    return (attempts_to_success,)


@app.cell
def _(calls):
    # How many calls come after hours (outside of 9 to 19, and at the weekend), and who is lost?
    late = calls[(calls["weekday"] > 5) | ~calls["hour"].between(9, 18)]
    after_hours = late.groupby(["weekday", "weekday_name"])["missed"].agg(["size", "sum"])
    after_hours = after_hours.reset_index()
    after_hours
    return (after_hours,)


@app.cell
def _(calls):
    # Of which sources did no call ever become a talk?
    of_source = calls.dropna(subset="source").groupby(["source", "medium"], dropna=False)
    sources = of_source.agg(calls=("date", "size"), last=("date", "max"), any=("answered", "any"))
    silent_sources = sources[~sources.pop("any")].reset_index()
    silent_sources
    return (silent_sources,)


@app.cell
def _(talks):
    # Of which share of each manager's talks is there a recording?
    recorded = talks.groupby("manager")["has_recording"]
    recordings = recorded.agg(["size", "sum", "mean"]).reset_index()
    recordings["mean"] *= 100
    recordings
    return (recordings,)


@app.cell
def _(calls):
    # How does each month stand against the one before?
    months = calls.groupby("month_start")["answered"].agg(calls="size", answered="sum")
    month_against_month = months.assign(more_calls=months["calls"].diff()).reset_index()
    month_against_month
    return (month_against_month,)


if __name__ == "__main__":
    app.run()
