import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.vocabulary import by_mimo_id, imagenet_instruments, match_terms, matching
from annotator.vocabulary.instruments import ancestors, homonyms
from tests.conftest import SHARED

INSTRUMENTS = list(by_mimo_id().values())
REFERENCE = SHARED / "reference/mimo_terms.tsv"


@pytest.mark.parametrize(
    ("name", "mimo_id"),
    [
        # a MIMO id decides, also against the name
        ("Violin (3573)", 3573),
        ("violin (3573) ", 3573),
        ("Violins (3564)", 3564),
        ("Geige (3573)", 3573),
        ("Harp (3394)", 3394),
        # exact, case, plural, hyphen, underscore, accents, apostrophes
        ("Violin", 3573),
        ("VIOLINS", 3573),
        ("violin", 3573),
        ("harps", 3285),
        ("Hurdy-gurdy", 3305),
        ("hurdy gurdy", 3305),
        ("HurdyGurdy", 3305),
        ("hurdy-gurdies", 3305),
        ("transverse_flute", 4093),
        ("jew's harp", 2864),
        ("Jew’s Harps", 2864),
        ("  lute  ", 3394),
        ("Cymbals", 2451),
        ("cymbal", 2451),
        ("Bagpipes", 3746),
        # comma inversion
        ("organ, portative", 2267),
        ("Trumpet, end-blown", 6556),
        # synonyms
        ("cello", 3582),
        ("cellos", 3582),
        ("piano", 2299),
        ("fortepiano", 2299),
        ("acoustic guitar", 3237),
        ("French horn", 4118),
        ("sackbut", 4364),  # not the synthesizer of 1948 (2221)
        ("Clappers", 2424),
        ("snare drum", 2729),
        ("timpani", 2887),
        ("drum kit", 5703),
        ("gamba", 3604),
        ("cornetto", 3868),
        ("krummhorn", 4189),
        ("pan flute", 4024),
        ("double bass", 3111),
        ("contrabass", 3111),
        # other languages
        ("luth", 3394),
        ("Luths", 3394),
        ("luit", 3394),
        ("Laute", 3394),
        ("liuto", 3394),
        ("laúd", 3394),
        ("laud", 3394),
        ("Geige", 3573),
        ("viool", 3573),
        ("violon", 3573),
        ("Harfe", 3285),
        ("arpa", 3285),
        ("harpe", 3285),
        ("Drehleier", 3305),
        ("vielle à roue", 3305),
        ("draailier", 3305),
        ("doedelzak", 3746),
        ("cornemuse", 3746),
        ("Dudelsack", 3746),
        ("Blockflöte", 4039),
        ("flûte à bec", 4039),
        ("flute a bec", 4039),
        ("Querflöte", 4093),
        ("orgue", 2266),
        ("Orgel", 2266),
        ("Pauke", 2887),
        ("clavecin", 2251),
        ("Cembalo", 2251),
        ("Posaune", 4369),
        ("trompette", 4446),
        ("tamburello", 2746),
        # plurals of other languages
        *[(name, 3573) for name in ("violons", "Geigen", "violini", "violen", "violines")],
        *[(name, 3285) for name in ("Harfen", "arpe", "harpen", "arpas")],
        *[(name, 3394) for name in ("luths", "Lauten", "liuti", "luiten", "laúdes")],
        ("Orgeln", 2266),
        ("Hörner", 4118),
        ("Flöten", 3955),
        ("cors", 4118),
        # families and categories
        ("Stringed instruments", 3101),
        ("Wind instruments", 3730),
        ("Wind instrument", 3730),
        ("String instruments", 3101),
        ("Instruments à cordes", 3101),
        ("Saiteninstrumente", 3101),
        ("snaarinstrumenten", 3101),
        ("Chordophones", 3101),
        ("Aerophones", 3730),
        ("Percussion", 2370),
        ("Tasteninstrumente", 2230),
        # a word for the kind of thing
        ("Organ (Musical Instrument)", 2266),
        ("horns (aerophones)", 4118),
        ("Wagon (musical instrument)", 3710),
        ("Wagon (3710)", 3710),
        ("Organ (anatomy)", None),
        # MIMO's names and plurals of them that mean something else in pictures
        *[(name, None) for name in ("Wagon", "wagons", "Hammer", "Bones", "Bow", "Spoons", "Whip", "Katana", "Siren")],
        *[(name, None) for name in ("shoes", "pies", "kas", "bos", "Others", "Mechanical")],
        *[(name, None) for name in ("Flügel", "vleugels", "Becken", "piatti", "klok", "pipa", "Capra")],
        # two instruments each: cittern and zither, fiddle and hurdy-gurdy
        *[(name, None) for name in ("citer", "cetra", "vielle")],
        # no instrument, whatever they contain
        ("harpist", None),
        ("flutist", None),
        ("organism", None),
        ("string", None),
        ("violin case", None),
        ("woman with a lute", None),
        ("bass (voice)", None),
        ("person", None),
        ("", None),
        (" ", None),
        ("s", None),
        ("es", None),
        ("()", None),
        ("3573", None),
        ("Violin (9999)", None),
        ("Painting (1642)", None),
        ("💥", None),
    ],
)
def test_names(name, mimo_id):
    found = matching(name)
    assert (found and found.mimo_id) == mimo_id


@given(st.sampled_from(INSTRUMENTS))
def test_minervas_way_of_writing_always_matches(instrument):
    assert matching(f"{instrument.name} ({instrument.mimo_id})") == instrument


@given(st.sampled_from(INSTRUMENTS), st.sampled_from([str.upper, str.lower, str.title, lambda name: f"\t{name}  "]))
def test_case_and_spaces_do_not_matter(instrument, write):
    assert matching(write(instrument.name)) == matching(instrument.name)


@given(st.text())
def test_any_text_is_taken_without_failure(name):
    assert matching(name) is None or matching(name) in INSTRUMENTS


def test_every_instrument_with_aliases_is_found_by_its_name_and_by_each_alias():
    known = [item for item in INSTRUMENTS if item.aliases]
    assert len(known) >= 60
    for item in known:
        assert matching(item.name) == item
        for language, alias in item.aliases:
            assert matching(alias) == item, (item.name, language, alias)


def test_data_equal_the_reference():
    if not REFERENCE.exists():
        pytest.skip("needs the reference beside the project")
    rows = list(csv.DictReader(REFERENCE.read_text("utf-8").splitlines(), delimiter="\t"))
    assert set(by_mimo_id()) == {int(row["mimo_id"]) for row in rows}
    for row in rows:
        found = by_mimo_id()[int(row["mimo_id"])]
        assert found.name.split() == row["term"].split()
        assert found.family.split() == row["level2_family"].split()
        assert all(notation in row["hornbostel_sachs"] for notation in found.hornbostel_sachs)


def test_the_terms_of_the_thesis_are_known():
    thesis = SHARED / "reference/mimo25.tsv"
    if not thesis.exists():
        pytest.skip("needs the reference beside the project")
    rows = list(csv.DictReader(thesis.read_text("utf-8").splitlines(), delimiter="\t"))
    assert len(rows) == 25
    assert {int(row["mimo_id"]) for row in rows} <= set(by_mimo_id())


def test_ancestors_are_family_then_category():
    assert [item.name for item in ancestors(by_mimo_id()[3573])] == ["Violins", "Stringed instruments"]
    assert ancestors(by_mimo_id()[3101]) == []


@given(st.sampled_from(INSTRUMENTS))
def test_what_is_wider_is_of_the_same_category(instrument):
    """Each category has a family "Others" of its own."""
    assert {item.category for item in ancestors(instrument)} <= {instrument.category}


def test_a_family_of_the_same_name_as_its_instrument_is_wider():
    crash, leaf = by_mimo_id()[2469], by_mimo_id()[2471]
    for instrument in (crash, leaf):
        assert match_terms([instrument], {1: "Cymbals (2451)", 2: "Percussion"})[instrument.mimo_id].term == 1


def test_homonyms_are_names_of_instruments():
    assert set(homonyms()) < {item.name for item in INSTRUMENTS if not item.aliases}


def test_imagenet_classes_name_one_instrument_each():
    classes = [position for item in imagenet_instruments() for position in item.imagenet_classes]
    assert len(classes) == len(set(classes)) == 25
    assert by_mimo_id()[3237].imagenet_classes == (402, 546)


VIOLIN, CELLO, REBEC = by_mimo_id()[3573], by_mimo_id()[3582], by_mimo_id()[3202]


@pytest.mark.parametrize(
    ("terms", "violin", "cello"),
    [
        ({1: "Violin (3573)", 2: "Cello"}, (1, True), (2, True)),
        ({1: "violons"}, (1, True), None),
        ({1: "Stringed instruments", 2: "Person"}, (1, False), (1, False)),
        ({1: "Stringed instruments", 2: "Violins (3564)"}, (2, False), (1, False)),
        ({9: "Violin", 4: "viool"}, (4, True), None),  # the older term
        ({1: "Violins", 2: "Violin", 3: "Violoncellos"}, (2, True), (3, True)),  # a parent, older than its child
        ({1: "Violins", 2: "viool"}, (2, True), None),
        ({1: "Person", 2: "Violinist"}, None, None),
        ({}, None, None),
    ],
)
def test_terms_of_a_project(terms, violin, cello):
    found = match_terms([VIOLIN, CELLO], terms)
    as_pair = {number: (match.term, match.exact) for number, match in found.items()}
    assert as_pair.get(3573) == violin
    assert as_pair.get(3582) == cello


def test_a_plural_that_is_also_a_family_serves_the_family():
    assert match_terms([REBEC], {5: "Fiddles"})[3202].term == 5


def test_others_of_an_ontology_are_no_instruments():
    triangle = by_mimo_id()[3005]
    assert match_terms([triangle], {1: "Others", 2: "Others (4309)"}) == {}  # 4309 are wind instruments
    assert match_terms([triangle], {1: "Others (2988)"})[3005].term == 1
