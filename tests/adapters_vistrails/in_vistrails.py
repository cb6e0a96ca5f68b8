"""Program that builds and executes workflows with a real VisTrails, in Python 2.7.

The program reads one request in JSON from stdin.  The last line on stdout is the reply,
also in JSON.

    {"do": "build", "pipelines": {"x.vt": {...}}}          -> signatures by name
    {"do": "edit", "file": "x.vt", "change": {"Queue": {"hostname": "y"}},
     "delete": ["StandardOutput"], "group": [...], "tag": "z"}  -> signatures by type
    {"do": "execute", "file": "x.vt", "console": true}     -> what became of it

A pipeline is written as for `python -m tej_vistrails`.
"""

from __future__ import print_function

import json
import os
import subprocess
import sys
import urllib

import vistrails
import vistrails.core.api
import vistrails.core.db.action
from vistrails.core.configuration import get_vistrails_configuration
from vistrails.core.console_mode import run_and_get_results
from vistrails.core.db.locator import FileLocator
from vistrails.core.modules.basic_modules import PathObject
from vistrails.core.packagemanager import get_package_manager

BASIC = "org.vistrails.vistrails.basic"
TEJ = "org.vistrails.extra.tej"
ACTION = vistrails.core.db.action.create_action


def text(value):
    """Return text as bytes, like VisTrails."""
    return value.encode("utf-8") if not isinstance(value, bytes) else value


class Builder(object):
    def __init__(self):
        vistrails.load_package(TEJ)
        self.vistrail = vistrails.Vistrail()
        self.controller = self.vistrail.controller
        self.controller.change_selected_version(0)
        self.modules = {}

    def perform(self, *operations):
        action = ACTION(list(operations))
        self.controller.add_new_action(action)
        self.controller.perform_action(action)

    def add(self, name, spec):
        package, type_ = spec["type"].split(":")
        identifier = TEJ if package == "tej" else BASIC
        module = self.controller.create_module(identifier, text(type_))
        self.perform(("add", module))
        module = self.modules[name] = self.controller.current_pipeline.modules[
            module.id
        ]
        ports = dict.fromkeys(spec.get("files", ()), "File")
        # Inputs of these types can only be set by VisTrails itself.
        ports.update(spec.get("ports", {}))
        for port, port_type in ports.items():
            extra = ("input", text(port), text("(%s:%s)" % (BASIC, port_type)), -1)
            self.controller.update_ports(module.id, [], [extra])
            module = self.controller.current_pipeline.modules[module.id]
            self.modules[name] = module
        for port, values in spec.get("inputs", {}).items():
            for value in values if isinstance(values, list) else [values]:
                if (type_, port) == ("SubmitShellJob", "source"):
                    value = urllib.quote(text(value))
                function = self.controller.create_function(
                    module, text(port), [text("%s" % value)]
                )
                self.perform(("add", function, module.vtType, module.id))

    def connect(self, source, target):
        (source, port), (target, target_port) = source.split("."), target.split(".", 1)
        pipeline = self.controller.current_pipeline
        connection = self.controller.create_connection(
            pipeline.modules[self.modules[source].id],
            text(port),
            pipeline.modules[self.modules[target].id],
            text(target_port),
        )
        self.perform(("add", connection))

    def names(self):
        return {
            name: signature(self.controller.current_pipeline, module.id)
            for name, module in self.modules.items()
        }


def signature(pipeline, number):
    return pipeline.subpipeline_signature(number).encode("hex")


def build(request):
    answer = {}
    for path, pipeline in request["pipelines"].items():
        builder = Builder()
        for name, spec in pipeline["modules"].items():
            builder.add(name, spec)
        for source, target in pipeline["connections"]:
            builder.connect(source, target)
        builder.controller.write_vistrail(FileLocator(text(path)))
        answer[path] = {"signatures": builder.names()}
    return answer


def edit(request):
    loaded = vistrails.load_vistrail(text(request["file"]))
    loaded.select_latest_version()
    controller = loaded.controller

    def find(name):
        (module,) = [
            one for one in controller.current_pipeline.module_list if one.name == name
        ]
        return module

    for name, inputs in request["change"].items():
        for port, value in inputs.items():
            controller.update_function(find(name), text(port), [text(value)])
    controller.delete_module_list([find(name).id for name in request["delete"]])
    group = [find(name).id for name in request.get("group", ())]
    if group:
        within = [
            one.id
            for one in controller.current_pipeline.connection_list
            if one.source.moduleId in group and one.destination.moduleId in group
        ]
        controller.create_group(group, within)
    controller.vistrail.set_tag(controller.current_version, text(request["tag"]))
    controller.write_vistrail(FileLocator(text(request["file"])))
    pipeline = controller.current_pipeline
    return {one.name: signature(pipeline, one.id) for one in pipeline.module_list}


def execute(request):
    get_vistrails_configuration().jobCheckInterval = request.get("interval", 0)
    locator = FileLocator(text(request["file"]))
    if request.get("console"):
        (result,) = run_and_get_results([(locator, None)])
        pipeline, controller = result.pipeline, None
    else:
        loaded = vistrails.load_vistrail(text(request["file"]))
        loaded.select_latest_version()
        controller = loaded.controller
        ((result,), _) = controller.execute_current_workflow()
        for command in request.get("between", ()):
            subprocess.check_call(command, stdout=sys.stderr)
            ((result,), _) = controller.execute_current_workflow()
        pipeline = controller.current_pipeline
    modules = pipeline.modules
    answer = {
        "errors": {},
        "suspended": {},
        "outputs": {},
        "signatures": {modules[i].name: signature(pipeline, i) for i in modules},
        "package": get_package_manager().get_package(TEJ).codepath,
        "version": get_package_manager().get_package(TEJ).version,
    }
    for number, error in result.errors.items():
        answer["errors"][modules[number].name] = error.msg
    for number, error in result.suspended.items():
        answer["suspended"][modules[number].name] = error.msg
    for number, module in result.objects.items():
        outputs = answer["outputs"].setdefault(modules[number].name, {})
        for port, value in module.outputPorts.items():
            if isinstance(value, PathObject) and os.path.isfile(value.name):
                with open(value.name, "rb") as file:
                    outputs[port] = file.read().decode("utf-8", "replace")
            elif isinstance(value, (int, str)):
                outputs[port] = value
    return answer


def main():
    request = json.loads(sys.stdin.read())
    vistrails.core.api.initialize()
    actions = {"build": build, "edit": edit, "execute": execute}
    answer = actions[request["do"]](request)
    print()
    print(json.dumps(answer))
    sys.stdout.flush()


main()
