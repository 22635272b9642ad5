"""The description of what the console watches: chains as pictures, what an environment does, what changes, and what
steps were given.
"""

from typing import Final

from penstock.runs.step_inputs import StepInputs
from penstock.runs.views.models import ChainPicture
from penstock_ingress.repository.data_views import ThingPage, TypeList
from penstock_ingress.repository.overview_views import ChainPage, Changes, Overview
from penstock_ingress.repository.views import Chain, ChainTree, ResumedChain, StoppedChain
from penstock_ingress.repository.workflow_views import Graph, VersionPage
from penstock_ingress.routes.operation import PAGE, Operation
from penstock_ingress.rules.management import ChainResumeRequest, ChainStopRequest

WATCHING: Final = (
    Operation("overview", "get", "What an environment does now, and did in the last hour", Overview),
    Operation(
        "stream", "get", "Server-sent events: that there is something new to show, at most one a second", Changes,
        is_stream=True,
    ),
    Operation("workflows/{name}/versions", "get", "Which deployments changed a workflow, and what", VersionPage),
    Operation("data", "get", "The data types of the app", TypeList),
    Operation(
        "data/{name}", "get", "Things of a data type, the newest first, whatever its privacy rules say", ThingPage,
        query=("constraints", *PAGE), problems=(400, 404),
    ),
    Operation("runs/{id}/inputs", "get", "What a step of a run was given, evaluated again", StepInputs, query=("step",),
    problems=(400, 404, 503)),
    Operation("graph", "get", "Which workflows start which, and the cycles in that", Graph),
    Operation(
        "chains", "get", "Chains that have scheduled anything, newest first, or the newest warning", ChainPage,
        query=("mark", "workflow", "since", "until", *PAGE), problems=(400, 404),
    ),
    Operation("chains/{id}", "get", "A chain, by its id or that of any of its runs", Chain, query=PAGE, problems=(400,
    404)),
    Operation(
        "chains/{id}/stop", "post", "Stop a chain: admit and start no more of it, and cancel its live runs",
        StoppedChain,
        body=ChainStopRequest, problems=(400, 404, 422, 503),
    ),
    Operation(
        "chains/{id}/resume", "post", "Resume a chain: lift its stop, and readmit the cut runs that fit now, once each",
        ResumedChain, body=ChainResumeRequest, problems=(400, 404, 422, 503),
    ),
    Operation(
        "chains/{id}/tree", "get", "A chain as a tree that fits a screen: siblings that are alike are one node",
        ChainPicture, query=("from", "nodes"), problems=(400, 404, 503),
    ),
    Operation(
        "chains/{id}/folded", "get", "The runs that are in one node of that tree with a run", ChainTree,
        query=("run", *PAGE), problems=(400, 404, 503),
    ),
)  # fmt: skip
