"""What may run, as plain data from a fork server: classes, methods, the schemas that parameters must fit, policies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from bgjob.errors import (
    ClassUnavailableError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
)
from bgjobd.config.alerts import NOTICE
from bgjobd.config.policy import InvalidAttributeError, Policy, policy_of
from bgjobd.config.sections import Config
from bgjobd.daemon.validator import InvalidSchemaError, Validator
from bgjobd.forkserver.class_rules import BARE_CONTEXT


class Catalogue:
    """The approved classes of one code version. Names are looked up here and nowhere else.

    `missing` are those that the fork server could not load, with the reason: nothing of them can start. A class that
    was loaded and is unavailable all the same, as for its attributes, takes no new jobs; those that wait run.
    `has_notice`: what tells of alerts can start, of which nobody can submit a job.
    """

    def __init__(self, config: Config, described: Mapping[str, Mapping[str, Any]], code_version: str) -> None:
        own, described = (
            described.get(NOTICE),
            {name: one for name, one in described.items() if name != NOTICE},
        )
        self.has_notice = own is not None and own["unavailable"] is None
        self.classes = dict(described)
        self.code_version = code_version
        self.has_others = config.host is not None
        """Whether other hosts may have approved what is not approved here."""
        self.missing: dict[str, str] = {}
        self.renew(described)
        self.policies: dict[str, Policy] = {}
        for name, one in described.items():
            try:
                self.policies[name] = policy_of(config, name, one.get("attributes"))
            except InvalidAttributeError as error:
                self.classes[name] = {**one, "unavailable": str(error), "traceback": None}
        for name in list(self.policies):
            self._check_keys(name)
        self._validators: dict[tuple[str, str], Validator] = {}
        self._of_incomplete: dict[tuple[str, str], Validator] = {}
        for name in list(self.policies):
            self._compile(name)

    def _check_keys(self, class_name: str) -> None:
        """Have a class be unavailable whose keys would be of what no method takes, or a unique one of a secret, which
        the key would let others guess. Of one that is missing no method is known, and why it is stays told.
        """
        if class_name in self.missing:
            return
        described, policy = self.classes[class_name], self.policies[class_name]
        of_key = () if policy.key is None else (policy.key,)
        for option, name in [
            *(("unique lists", one) for one in policy.unique),
            *(("key is", one) for one in of_key),
        ]:
            takers = [
                method
                for method, one in described["methods"].items()
                if one["names"] is None or name in one["names"]
            ]
            is_unique = name in policy.unique
            if is_unique and any(name in self.sensitive(class_name, method, (name,)) for method in takers):
                why = f"unique lists {name}, which is a secret: who knows the key could guess it"
            elif not takers:
                why = f"{option} {name}, and no method has such a parameter"
            else:
                continue
            self.classes[class_name] = {**described, "unavailable": why, "traceback": None}

    def _compile(self, class_name: str) -> None:
        """Have a validator for each method; a class that brings a schema which is none is unavailable."""
        for method_name, method in self.classes[class_name]["methods"].items():
            # What a validator says of a value quotes it, unless it is told to mask them all.
            has_secrets = bool(self.sensitive(class_name, method_name, ("any other",)))
            try:
                self._validators[class_name, method_name] = Validator(method["schema"], has_secrets)
            except InvalidSchemaError as error:
                reason = f"the schema of {method_name} is invalid: {error}"
                self.classes[class_name] = {**self.classes[class_name], "unavailable": reason}
                return

    def renew(self, described: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over why classes are missing, as it is by now; of one that is not, nothing."""
        for name, one in described.items():
            if one["unavailable"] is not None and name != NOTICE:
                self.classes[name], self.missing[name] = one, one["unavailable"]

    def check(
        self,
        class_name: str,
        method_name: str,
        parameters: Mapping[str, Any],
        taken: Collection[str] = (),
    ) -> None:
        """Raises the refusal for a call that may not run; returns where it may. `taken` parameters are to come."""
        self.checker(class_name, method_name, frozenset(taken))(parameters)

    def checker(
        self, class_name: str, method_name: str, taken: frozenset[str] = frozenset()
    ) -> Callable[[Mapping[str, Any]], None]:
        """What raises the refusal of parameters that do not fit; raises that of a method that may not be called."""
        self.check_target(class_name, method_name)
        target = class_name, method_name
        validator = self._incomplete(*target) if taken else self._validators[target]

        def check(parameters: Mapping[str, Any]) -> None:
            if taken:
                self._check_taken(class_name, method_name, parameters, taken)
            if not validator.fits(parameters):
                sensitive = self.sensitive(class_name, method_name, parameters)
                problems = validator.problems(parameters, sensitive)
                if self._has_bare_context(class_name, method_name) and "context" not in parameters:
                    problems.append({"path": "context", "message": BARE_CONTEXT})
                raise InvalidParametersError(problems=problems)

        return check

    def misfits(
        self, class_name: str, method_name: str, given: Mapping[str, Any], of: Collection[str]
    ) -> list[dict[str, str]]:
        """What is wrong with those `of` a call's parameters; raises the refusal of a method that may not be called."""
        self.check_target(class_name, method_name)
        validator = self._incomplete(class_name, method_name)
        names = self.classes[class_name]["methods"][method_name]["names"]
        known = {name: value for name, value in given.items() if names is None or name in names}
        sensitive = self.sensitive(class_name, method_name, known)
        problems = [] if validator.fits(known) else validator.problems(known, sensitive)
        return [
            *(problem for problem in problems if problem["path"].partition("/")[0] in of),
            *({"path": name, "message": "there is no such parameter"} for name in of if name not in known),
        ]

    def _incomplete(self, class_name: str, method_name: str) -> Validator:
        """One that misses no parameter: one for each set of them that is taken would take long to make."""
        known = self._of_incomplete.get((class_name, method_name))
        if known is None:
            schema = self.classes[class_name]["methods"][method_name]["schema"]
            own = self._validators[class_name, method_name]
            known = self._of_incomplete[class_name, method_name] = Validator(
                {**schema, "required": []}, own.has_secrets
            )
        return known

    def _check_taken(
        self, class_name: str, method_name: str, parameters: Mapping[str, Any], taken: Collection[str]
    ) -> None:
        """Raises InvalidParametersError for what the method does not take, is given as well, or is missing."""
        described = self.classes[class_name]["methods"][method_name]
        names = described["names"]
        unknown = [name for name in sorted(taken) if names is not None and name not in names]
        problems = [
            {"path": name, "message": "is to be taken, and there is no such parameter"} for name in unknown
        ]
        problems += [
            {"path": name, "message": "is to be taken from a result, and is given, too"}
            for name in sorted(taken)
            if name in parameters
        ]
        problems += [
            {"path": "", "message": f'"{name}" is a required property'}
            for name in described["schema"].get("required", ())
            if name not in parameters and name not in taken
        ]
        if problems:
            raise InvalidParametersError(problems=problems)

    def check_target(self, class_name: str, method_name: str) -> None:
        """Raises the refusal of a method that may not be called, whatever its parameters are."""
        described = self.classes.get(class_name)
        if described is None:
            raise NotApprovedError(class_name=class_name)
        if described["unavailable"] is not None:
            raise ClassUnavailableError(class_name=class_name, reason=described["unavailable"])
        if method_name not in described["methods"]:
            raise MethodNotApprovedError(class_name=class_name, method_name=method_name)

    def has(self, class_name: str, method_name: str) -> bool:
        """Whether the method is known, be it that its class takes no new jobs."""
        return class_name in self.policies and method_name in self.classes[class_name]["methods"]

    def sensitive(self, class_name: str, method_name: str, given: Collection[str]) -> tuple[str, ...]:
        """The parameters of an approved method whose values are shown nowhere: by the config, or by their types.

        `given` are the names in a request: where secrets may have any name, all but the plain ones are.
        """
        method = self.classes[class_name]["methods"][method_name]
        others = set(given).difference(() if method["plain"] is None else method["plain"])
        listed = self.policies[class_name].sensitive
        # In which a name may stand.
        is_open = method["plain"] is not None or (method.get("by_place") and listed)
        return tuple(sorted(listed.union(method["sensitive"], others if is_open else ())))

    def has_secrets_of_any_name(self, class_name: str, method_name: str) -> bool:
        """Whether the names in a request say which of its parameters are sensitive."""
        method = self.classes[class_name]["methods"][method_name]
        return method["plain"] is not None or bool(method.get("by_place"))

    def try_has_failed_hook(self, class_name: str) -> bool | None:
        """Whether the class wants to hear of its jobs that failed for good; None where it is missing: nobody knows."""
        if class_name in self.missing:
            return None
        return class_name in self.classes and "failed" in self.classes[class_name]["hooks"]

    def doubts(self, config: Config, class_name: str) -> list[str]:
        """What is said of a class in use and means nothing: misspelt names of the configuration, most likely, and types
        that nobody converts to.
        """
        methods = self.classes[class_name]["methods"]
        own = config.approved[class_name]
        is_module = self.classes[class_name].get("is_module")
        has_not = "the module has no such function" if is_module else "the class has no such method"
        doubts = [
            f"methods of {class_name} lists {name}, and {has_not} that may be called"
            for name in sorted(set(own.methods or ()).difference(methods))
        ]
        if is_module and not methods and not own.methods:
            nothing = f"{class_name} is a module without tasks of Django's, and nothing of it may be called"
            doubts.append(f"{nothing}; list the functions that may: methods = [...]")
        known = {name for method in methods.values() for name in method["schema"].get("properties", {})}
        takes_any_name = any(method["names"] is None for method in methods.values())
        unknown = () if takes_any_name else sorted(set(own.sensitive or ()).difference(known))
        doubts += [
            f"sensitive of {class_name} lists {name}, and no method has such a parameter" for name in unknown
        ]
        key = self.policies[class_name].key
        doubts += [
            f"key of {class_name} is {key}, which is neither text nor an integer for {name}: without a key no job can "
            "be submitted that has it"
            for name, method in sorted(methods.items())
            if key is not None and not _may_be_key(method["schema"].get("properties", {}).get(key))
        ]
        return doubts + [
            f"{class_name}::{name} gets {', '.join(method['unconverted'])} as JSON has it, not as annotated: pydantic, "
            "which would convert it, cannot be used in the application's interpreter; install it there"
            for name, method in sorted(methods.items())
            if method["unconverted"]
        ]

    def remarks(self, class_name: str) -> list[str]:
        """What the class does that is allowed, and most likely not what was meant."""
        remarks = [
            f"{class_name}::{name} takes a parameter context without an annotation: {BARE_CONTEXT}"
            for name in sorted(self.classes[class_name]["methods"])
            if self._has_bare_context(class_name, name)
        ]
        written: Mapping[str, str] = self.classes[class_name].get("written_in", {})
        return remarks + [
            self._remark_on(class_name, sorted(name for name in written if written[name] == other), other)
            for other in sorted({*written.values()} - {class_name})
        ]

    def _remark_on(self, class_name: str, names: list[str], other: str) -> str:
        """That methods were written in another class: a base, or the same where the approved name is another's."""
        refused = "" if other in self.classes else ", which is not approved"
        return (
            f"{class_name} has {', '.join(names)} from {other}: bgjob.submit submits that one's{refused}; "
            "run_background_job, by name, the class's own"
        )

    def _has_bare_context(self, class_name: str, method_name: str) -> bool:
        return bool(self.classes[class_name]["methods"][method_name]["bare_context"])

    def newly_broken(self, before: Catalogue) -> dict[str, str]:
        """The classes that cannot be used, and could before or are new, with the reason."""
        known = before.classes
        return {
            name: described["unavailable"]
            for name, described in self.classes.items()
            if described["unavailable"] is not None
            and (name not in known or known[name]["unavailable"] is None)
        }


def _may_be_key(schema: Any) -> bool:
    """Whether some value that fits can be a job's key, as far as that is plain to see."""
    if not isinstance(schema, dict):
        return True
    forms = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(forms, list):
        return any(_may_be_key(form) for form in forms)
    types = schema.get("type", ["string"])
    return not {"string", "integer"}.isdisjoint([types] if isinstance(types, str) else types)
