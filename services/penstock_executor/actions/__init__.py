"""The kinds of step, one file each: what a step asks for becomes an effect, a call, or a value. Committing is left to
the handlers.
"""

from collections.abc import Mapping
from typing import Final

from penstock.definitions.models import StepAction
from penstock_executor.actions.aggregate import aggregate, count
from penstock_executor.actions.call import call_connector
from penstock_executor.actions.cancel import cancel
from penstock_executor.actions.create import create
from penstock_executor.actions.create_many import create_many
from penstock_executor.actions.delete import delete
from penstock_executor.actions.delete_many import delete_many
from penstock_executor.actions.email import email
from penstock_executor.actions.export import export
from penstock_executor.actions.fail import fail
from penstock_executor.actions.find import find
from penstock_executor.actions.get import get
from penstock_executor.actions.http import http
from penstock_executor.actions.import_ import import_
from penstock_executor.actions.log import log
from penstock_executor.actions.publish import publish
from penstock_executor.actions.recur import recur, stop_recurring
from penstock_executor.actions.return_ import return_
from penstock_executor.actions.run import run
from penstock_executor.actions.schedule import schedule
from penstock_executor.actions.schedule_list import schedule_list
from penstock_executor.actions.send import send
from penstock_executor.actions.state import state
from penstock_executor.actions.steps import Awaited, Immediate
from penstock_executor.actions.stop import stop
from penstock_executor.actions.trigger import trigger
from penstock_executor.actions.update import update
from penstock_executor.actions.update_many import update_many
from penstock_executor.actions.wait import wait, wait_for, wait_until

IMMEDIATE: Final[Mapping[StepAction, Immediate]] = {
    StepAction.CREATE: create,
    StepAction.UPDATE: update,
    StepAction.DELETE: delete,
    StepAction.STOP_RECURRING: stop_recurring,
    StepAction.TRIGGER: trigger,
    StepAction.RETURN: return_,
    StepAction.STATE: state,
    StepAction.LOG: log,
    StepAction.FAIL: fail,
    StepAction.STOP: stop,
    StepAction.WAIT: wait,
    StepAction.WAIT_UNTIL: wait_until,
    StepAction.WAIT_FOR: wait_for,
}
AWAITED: Final[Mapping[StepAction, Awaited]] = {
    StepAction.GET: get,
    StepAction.FIND: find,
    StepAction.COUNT: count,
    StepAction.AGGREGATE: aggregate,
    StepAction.CREATE_MANY: create_many,
    StepAction.UPDATE_MANY: update_many,
    StepAction.DELETE_MANY: delete_many,
    StepAction.EXPORT: export,
    StepAction.IMPORT: import_,
    StepAction.SCHEDULE: schedule,
    StepAction.SCHEDULE_LIST: schedule_list,
    StepAction.RECUR: recur,
    StepAction.HTTP: http,
    StepAction.RUN: run,
    StepAction.CALL: call_connector,
    StepAction.CANCEL: cancel,
    StepAction.EMAIL: email,
    StepAction.SEND: send,
    StepAction.PUBLISH: publish,
}
