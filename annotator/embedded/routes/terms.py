"""Ontologies and their terms."""

import functools

from flask import Blueprint, Response, request

from annotator.embedded import seed
from annotator.embedded.access import body, found, person, readable_project, store
from annotator.embedded.annotations import Refused
from annotator.embedded.answers import CLASS_OF_KIND, add_all, as_added, as_json, as_list, shown, shown_project
from annotator.embedded.store import Object, now

routes = Blueprint("terms", __name__)


def terms_in(ontology: int) -> list[Object]:
    return sorted(store().find("term", ontology=ontology, deleted=None), key=lambda term: term["name"])


@routes.get("/api/project/<int:number>/term.json")
def project_terms(number: int) -> Response:
    ontology = readable_project(number)["ontology"]
    if ontology is None:  # as the core says of a project that has none (RestTermController.listAllByProject)
        raise Refused(404, f"Term not found with id Project : {number}")
    return as_list([shown("term", term) for term in terms_in(ontology)])


@routes.get("/api/ontology/<int:number>/term.json")
def leaf_terms(number: int) -> Response:
    terms = terms_in(found("ontology", number)["id"])
    parents = {term["parent"] for term in terms}
    return as_list([shown("term", term) for term in terms if term["id"] not in parents])


@routes.get("/api/ontology.json")
def ontologies() -> Response:
    return as_list([shown("ontology", item) for item in store().find("ontology")])


@routes.post("/api/ontology.json")
def add_ontology() -> Response:
    return as_added("ontology", shown("ontology", store().add("ontology", name=body()["name"], user=person())))


@routes.get("/api/ontology/<int:number>.json")
def ontology(number: int) -> Response:
    item, terms = found("ontology", number), terms_in(number)

    def branch(parent: int | None) -> list[Object]:
        rows = [
            {"id": term["id"], "name": term["name"], "title": term["name"], "data": term["name"]}
            | {"color": term["color"], "class": CLASS_OF_KIND["term"], "parent": parent, "key": term["id"]}
            | {"attr": {"id": term["id"], "type": CLASS_OF_KIND["term"]}, "children": branch(term["id"])}
            for term in terms
            if term["parent"] == parent
        ]
        leaves_first = sorted(rows, key=lambda row: bool(row["children"]))
        return [row | {"isFolder": bool(row["children"])} for row in leaves_first]

    projects = [shown_project(row) for row in store().find("project", ontology=number)]
    return as_json(
        shown("ontology", item)
        | {"title": item["name"], "isFolder": True, "projects": projects, "children": branch(None)}
    )


@routes.post("/api/term.json")
def add_term() -> Response:
    def add(item: Object) -> Object:
        ontology = found("ontology", int(item["ontology"]))
        # A deleted one counts too (Term.checkAlreadyExist).
        if store().find("term", ontology=ontology["id"], name=item["name"]):
            raise Refused(409, f"Term {item['name']} already exist!")
        if not item.get("name"):
            raise Refused(400, "A term needs a name")
        return seed.add_term(store(), ontology["id"], item["name"], item.get("color") or "#3366cc")

    return add_all("term", add, functools.partial(shown, "term"), "terms")


@routes.route("/api/term/<int:number>.json", methods=["GET", "DELETE"])
def term(number: int) -> Response:
    item = found("term", number)
    if request.method == "GET":
        return as_json(shown("term", item))
    if store().find("annotationterm", term=number):
        raise Refused(400, "Term is still linked with annotations. Cannot delete term!")
    return as_added("term", shown("term", store().update("term", number, deleted=now())))  # kept, but not listed


@routes.post("/api/relation/parent/term.json")
def add_parent() -> Response:
    content = body()
    parent, child = found("term", int(content["term1"])), found("term", int(content["term2"]))
    store().update("term", child["id"], parent=parent["id"])
    relation = {"id": child["id"], "term1": parent["id"], "term2": child["id"]}
    return as_added("relationterm", relation)
