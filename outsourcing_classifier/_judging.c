/* One text's answer in C: what scoring.weigh, scoring.decide and judge.Judge do, in the same order of additions.

The whole Classification of a text that the model decides is left to Python. */

#include "_native.h"
#include <math.h>

enum { BPO, KPO, OUT, NO_SIDE, SIDES };
/* of a kind */
enum { WEAK = 1, ACTIVITY = 2, HINT = 4, TRAIT_KIND = 8, DELIVERY = 16, MODEL_KIND = 32 };
/* of a zone */
enum { IN_BODY = 1, IN_TITLE = 2 };

#define JUDGE_TABLES(X)                                                                                   \
    X(J_ENTRY_KIND, "entry_kind") X(J_KIND_TRAITS, "kind_traits") X(J_ZONE_TRAITS, "zone_traits")         \
    X(J_CONCEPT_SIDE, "concept_side") X(J_CONCEPT_SERVICE, "concept_service")                             \
    X(J_CONCEPT_BASIS, "concept_basis") X(J_CONCEPT_POLE, "concept_pole") X(J_POLE_ROW, "pole_row")       \
    X(J_CONCEPT_MODE, "concept_mode") X(J_CONCEPT_BOTH, "concept_both") X(J_SERVICE_SIDE, "service_side") \
    X(J_SERVICE_OTHER, "service_other")
enum { JUDGE_TABLES(NUMBERED) J_ALL };
static const char *const TABLES[J_ALL] = {JUDGE_TABLES(NAMED)};
enum { N_KINDS, N_ZONES, N_DECISION, N_ALL };
static const char *const NUMBERS[N_ALL] = {"kinds", "zones", "decision"};
/* rows of decision, as native.py lists them */
enum {
    ASIDE, CONFIDENCE_DISCOUNT, CONFIDENCE_SLOPE, DECAY, DECIDE, HINTS, HINTS_SEVERAL, LEAST, MIXED_LEAST,
    MIXED_SHARE, NEITHER, OUTSIDE_WEIGHT, SIDE_DECAY, TRAIT_ALONE, TRAIT_ROWS, UNTITLED, CONSTANTS
};
#define JUDGE_OBJECTS(X)                                                                                        \
    X(O_CONCEPTS, "concepts") X(O_KINDS, "kinds") X(O_SIDES, "sides") X(O_BASES, "bases")                       \
    X(O_SERVICES, "services") X(O_MODES, "modes") X(O_LABELS, "labels") X(O_REASONS, "reasons")                 \
    X(O_WHYS, "whys") X(O_LABEL_CELLS, "label_cells") X(O_REASON_CELLS, "reason_cells")                         \
    X(O_BY_RULES_CELL, "by_rules_cell") X(O_BY_MODEL_CELL, "by_model_cell") X(O_CLASSES, "classes")             \
    X(O_SILENT, "silent") X(O_POLES, "poles") X(O_BY_RULES, "by_rules")           \
    X(O_UNSTATED, "unstated") X(O_STATED, "stated") X(O_CITE, "cite") X(O_ID, "id") X(O_EVIDENCE, "evidence")   \
    X(O_DISCARD, "discard") X(O_TRAIT, "trait") X(O_DELIVERY, "delivery") X(O_CLASSIFICATION, "classification") \
    X(O_FIELDS, "fields") X(O_ROW, "row") X(O_OK, "ok") X(O_NOTHING, "nothing")
enum { JUDGE_OBJECTS(NUMBERED) O_ALL };
static const char *const OBJECTS[O_ALL] = {JUDGE_OBJECTS(NAMED)};
/* rows of labels, reasons and whys, as native.py lists them */
enum { L_BPO, L_KPO, L_MIXED, L_UNKNOWN };
enum { R_LISTED, R_RELATED, R_FULL_FORM, R_BOTH, R_TRAITS, R_CONFLICT, R_LOW, R_NONE, R_OUT, R_NEGATED, R_MODEL };
enum { Y_ZONE = 5, Y_SATURATED };
enum {
    F_LABEL, F_SERVICE, F_SERVICES, F_CONFIDENCE, F_DECIDED_BY, F_REASON, F_EVIDENCE, F_DISCARDED, F_TRAITS,
    F_DELIVERY, F_LANGUAGES, F_SCORES, F_RULEBOOK, F_LENGTH, F_SOURCE, F_ALL
};
enum { TOP = 3, FEATURES = 8, SHOWN = 80, ROW_CELLS = 11 }; /* as results.Row.of and judge.FEATURES have them */

typedef struct { double weight; i32 start, index; } Weighed;
typedef struct { i32 start, end, order, index; } Place;
ROWS(Weighed, Weigheds)
ROWS(Place, Places)

typedef struct {
    PyObject_HEAD
    Reader *reader;
    Model *model; /* or NULL */
    double least; /* confidence from which on a side is named */
    const u32 *tables[J_ALL]; /* of the views */
    Py_ssize_t sizes[J_ALL];
    const double *numbers[N_ALL];
    Py_buffer views[J_ALL + N_ALL];
    PyObject *objects[O_ALL];
    PyObject *citations; /* of concept and language, once asked for */
    PyObject **spoken;   /* of the bits of languages and whether joined, once asked for */
    i32 concepts, services, bases, poles;
    double *concept_left; /* 1.0, but while a text is weighed */
    uint8_t *seen;        /* 0, but while something is counted */
} Judge;

/* What is made of a text. */
typedef struct {
    Judge *judge;
    Work work;
    Doubles weights; /* of the hits */
    Weigheds order;
    Numbers lines;       /* services in the order in which they were met */
    Doubles line_weight; /* by service */
    int label, reason;
    i32 service; /* or -1 */
    double confidence, scores[3];
} Answer;

static u32 of(const Judge *j, int name, Py_ssize_t i) {
    return i >= 0 && i < j->sizes[name] ? j->tables[name][i] : 0;
}
static double constant(const Judge *j, int name) { return j->numbers[N_DECISION][name]; }
static u32 concept_of(const Judge *j, const Hit *hit) { return table(j->reader, T_ENTRY_CONCEPT, hit->entry); }
static u32 kind_of(const Judge *j, const Hit *hit) { return of(j, J_KIND_TRAITS, of(j, J_ENTRY_KIND, hit->entry)); }
static u32 side_of(const Judge *j, const Hit *hit) { return of(j, J_CONCEPT_SIDE, concept_of(j, hit)); }
static double smaller(double a, double b) { return b < a ? b : a; }
static double larger(double a, double b) { return b > a ? b : a; }

/* ---- scoring.weigh ----------------------------------------------------------------------------- */

static int by_weight(const void *a, const void *b) {
    const Weighed *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* bits of the sides that the title names: scoring._titled */
static u32 titled(const Answer *a) {
    const Judge *j = a->judge;
    u32 out = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        if (of(j, J_ZONE_TRAITS, hit->zone) & IN_TITLE && !(kind_of(j, hit) & WEAK)) out |= 1u << side_of(j, hit);
    }
    return out;
}

/* scoring._limit_hints */
static void limit_hints(Answer *a) {
    const Judge *j = a->judge;
    const uint8_t *data = a->work.data;
    const Hit *first[SIDES] = {0};
    int several[SIDES] = {0};
    double weighed[SIDES] = {0};
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        if (!(kind_of(j, hit) & HINT) || !(of(j, J_ZONE_TRAITS, hit->zone) & IN_TITLE)) continue;
        u32 side = side_of(j, hit);
        i32 size = hit->end - hit->start;
        if (!first[side])
            first[side] = hit;
        else if (first[side]->end - first[side]->start != size ||
                 memcmp(data + first[side]->start, data + hit->start, (size_t)size))
            several[side] = 1;
    }
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        if (!(kind_of(j, hit) & HINT)) continue;
        u32 side = side_of(j, hit);
        double limit = constant(j, several[side] ? HINTS_SEVERAL : HINTS);
        a->weights.at[i] = larger(0.0, smaller(a->weights.at[i], limit - weighed[side]));
        weighed[side] += a->weights.at[i];
    }
}

static int weigh(Answer *a) {
    Judge *j = a->judge;
    const Hits *hits = &a->work.hits;
    double sides[SIDES] = {1.0, 1.0, 1.0, 1.0}, decay = constant(j, DECAY), side_decay = constant(j, SIDE_DECAY);
    for (Py_ssize_t i = 0; i < hits->size; i++) {
        const Hit *hit = &hits->at[i];
        Weighed *new_ = Weigheds_add(&a->order);
        double *weight = Doubles_add(&a->weights);
        if (!new_ || !weight) return -1;
        double raw = j->numbers[N_KINDS][of(j, J_ENTRY_KIND, hit->entry)] * j->numbers[N_ZONES][hit->zone];
        *new_ = (Weighed){raw, hit->start, (i32)i};
    }
    if (hits->size > 1) qsort(a->order.at, (size_t)a->order.size, sizeof(Weighed), by_weight);
    for (Py_ssize_t i = 0; i < a->order.size; i++) { /* scoring._repetitions */
        const Weighed *next = &a->order.at[i];
        const Hit *hit = &hits->at[next->index];
        u32 side = side_of(j, hit);
        double *left = &j->concept_left[concept_of(j, hit)];
        a->weights.at[next->index] = next->weight * (*left * sides[side]);
        *left *= decay;
        sides[side] *= side_decay;
    }
    u32 named = titled(a);
    int activity = 0, hints = 0, traits = 0;
    for (Py_ssize_t i = 0; i < hits->size; i++) {
        const Hit *hit = &hits->at[i];
        u32 kind = kind_of(j, hit);
        j->concept_left[concept_of(j, hit)] = 1.0;
        if (named && of(j, J_ZONE_TRAITS, hit->zone) & IN_BODY && !(named >> side_of(j, hit) & 1))
            a->weights.at[i] *= constant(j, UNTITLED);
        activity |= kind & ACTIVITY && a->weights.at[i] > 0;
        hints |= (kind & HINT) != 0;
        traits |= (kind & TRAIT_KIND) != 0;
    }
    for (Py_ssize_t i = 0; traits && !activity && i < hits->size; i++)
        if (kind_of(j, &hits->at[i]) & TRAIT_KIND) a->weights.at[i] *= constant(j, TRAIT_ALONE);
    if (hints) limit_hints(a);
    return 0;
}

/* ---- scoring.decide ---------------------------------------------------------------------------- */

/* scoring._rows */
static int rows_of(const Answer *a, u32 side) {
    Judge *j = a->judge;
    int count = 0;
    for (int pass = 0; pass < 2; pass++)
        for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
            const Hit *hit = &a->work.hits.at[i];
            if (!(kind_of(j, hit) & TRAIT_KIND) || side_of(j, hit) != side) continue;
            uint8_t *seen = &j->seen[of(j, J_CONCEPT_BASIS, concept_of(j, hit))];
            if (!pass && !*seen) count++;
            *seen = !pass;
        }
    return count;
}

/* scoring._has_side */
static int has_side(const Answer *a, i32 service, u32 side) {
    const Judge *j = a->judge;
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        if (of(j, J_CONCEPT_SERVICE, concept_of(j, hit)) == (u32)service + 1 && side_of(j, hit) == side) return 1;
    }
    return 0;
}

/* scoring._calibrated */
static double calibrated(const Judge *j, double chance) {
    double odds = log(larger(chance, 1e-9) / larger(1.0 - chance, 1e-9));
    return 1.0 / (1.0 + exp(-(constant(j, CONFIDENCE_SLOPE) * odds - constant(j, CONFIDENCE_DISCOUNT))));
}

/* The weightier of a service line and the one chosen so far, if any; the first by name where they are alike. */
static i32 better_line(const Answer *a, i32 line) {
    double more = a->service < 0 ? 1 : a->line_weight.at[line] - a->line_weight.at[a->service];
    return more > 0 || (more == 0 && line < a->service) ? line : a->service;
}

static int settle(Answer *a, int label, int reason, double confidence) {
    a->label = label;
    a->reason = reason;
    a->confidence = confidence;
    return 0;
}

static int decide(Answer *a) {
    Judge *j = a->judge;
    double total[SIDES] = {0};
    double weight_of_best[2] = {0};
    const Hit *best[2] = {0};
    int both = 0, negated = 0;
    for (i32 i = 0; i < j->services; i++) {
        double *new_ = Doubles_add(&a->line_weight);
        if (!new_) return -1;
        *new_ = 0.0;
    }
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        double weight = a->weights.at[i];
        u32 concept = concept_of(j, hit), side = side_of(j, hit);
        both |= of(j, J_CONCEPT_BOTH, concept) && weight >= 0;
        if (side == NO_SIDE || weight <= 0) continue;
        total[side] += weight;
        u32 service = of(j, J_CONCEPT_SERVICE, concept);
        if (service) {
            if (a->line_weight.at[service - 1] == 0.0) {
                i32 *new_ = Numbers_add(&a->lines);
                if (!new_) return -1;
                *new_ = (i32)service - 1;
            }
            a->line_weight.at[service - 1] += weight;
        }
        if (side <= KPO && (!best[side] || weight > weight_of_best[side])) {
            best[side] = hit;
            weight_of_best[side] = weight;
        }
    }
    double bpo = total[BPO], kpo = total[KPO];
    double aside = constant(j, ASIDE) * log1p((double)a->work.told / 400);
    double neither = constant(j, NEITHER) + aside + constant(j, OUTSIDE_WEIGHT) * total[OUT];
    a->scores[0] = bpo;
    a->scores[1] = kpo;
    a->scores[2] = neither;
    double peak = larger(larger(bpo, kpo), neither), chances[3], sum = 0.0;
    for (int i = 0; i < 3; i++) sum += chances[i] = exp(a->scores[i] - peak);
    for (int i = 0; i < 3; i++) chances[i] /= sum;
    a->service = -1;
    double low = smaller(bpo, kpo), high = larger(bpo, kpo);
    u32 named = titled(a) & (1u << BPO | 1u << KPO);
    int mixed = low >= constant(j, MIXED_LEAST) && low > neither && low / (low + high) >= constant(j, MIXED_SHARE) &&
                named != 1u << BPO && named != 1u << KPO;
    if (mixed || (both && bpo + kpo == 0)) {
        double share = bpo + kpo != 0 ? low / (bpo + kpo) : 0.5;
        return settle(a, L_MIXED, R_BOTH, 0.5 + share / 2);
    }
    u32 side = bpo >= kpo ? BPO : KPO;
    u32 kind = best[side] ? kind_of(j, best[side]) : 0;
    if (best[side] && kind & TRAIT_KIND && rows_of(a, side) < constant(j, TRAIT_ROWS))
        return settle(a, L_UNKNOWN, R_LOW, chances[2]);
    if (high < constant(j, LEAST) || high <= neither) {
        for (Py_ssize_t i = 0; i < a->work.dropped.size; i++) negated |= a->work.dropped.at[i].why == WHY_NEGATED;
        return settle(a, L_UNKNOWN,
                      total[OUT] > high ? R_OUT
                      : high > 0        ? R_LOW
                      : negated         ? R_NEGATED
                                        : R_NONE,
                      chances[2]);
    }
    if (bpo == kpo || chances[side] < constant(j, DECIDE))
        return settle(a, L_UNKNOWN, low > neither / 2 ? R_CONFLICT : R_LOW, chances[2]);
    for (Py_ssize_t i = 0; i < a->lines.size; i++) {
        i32 line = a->lines.at[i];
        if (of(j, J_SERVICE_SIDE, line) != side && !has_side(a, line, side)) continue;
        a->service = better_line(a, line);
    }
    int reason = kind & TRAIT_KIND                     ? R_TRAITS
                 : a->service < 0 || kind & MODEL_KIND ? R_FULL_FORM
                 : of(j, J_SERVICE_OTHER, a->service)  ? R_RELATED
                                                       : R_LISTED;
    return settle(a, side == BPO ? L_BPO : L_KPO, reason, calibrated(j, chances[side]));
}

/* ---- judge.Judge ------------------------------------------------------------------------------- */

static void end_answer(Answer *a) {
    end_work(&a->work);
    free(a->weights.at);
    free(a->order.at);
    free(a->lines.at);
    free(a->line_weight.at);
}

/* Judge._second */
static int second(Answer *a) {
    Judge *j = a->judge;
    Verdict verdict;
    if (judge_folded(j->model, a->work.data, a->work.length, &verdict) < 0) return -1;
    u32 side = verdict.chances[1] > verdict.chances[0] ? KPO : BPO;
    if (verdict.chances[side] < surest(j->model)) {
        a->confidence = verdict.chances[2];
        return 0;
    }
    a->service = -1;
    for (Py_ssize_t i = 0; i < a->lines.size; i++) {
        i32 line = a->lines.at[i];
        if (of(j, J_SERVICE_SIDE, line) == side) a->service = better_line(a, line);
    }
    memcpy(a->scores, verdict.scores, sizeof a->scores);
    return settle(a, side == BPO ? L_BPO : L_KPO, R_MODEL, verdict.chances[side]);
}

/* 0: answered; 1: left to Python; -1: an exception. Ends what it began unless 0. */
static int answer(Answer *a, Judge *j, PyObject *text) {
    memset(a, 0, sizeof *a);
    a->judge = j;
    if (PyUnicode_Check(text) && PyUnicode_GetLength(text) > LONGEST) return 1;
    if (begin_work(&a->work, j->reader, text) < 0) return -1;
    int left = 0;
    for (i32 i = 0; i < a->work.source_length && !left; i++) left = !(j->reader->codes[a->work.source[i]] & SPACE);
    if (!left) {
        end_answer(a);
        return 1;
    }
    int failed = weigh(a) < 0 || decide(a) < 0;
    if (!failed && j->model && (a->reason == R_NONE || a->reason == R_LOW || a->reason == R_CONFLICT))
        failed = second(a) < 0;
    if (failed) {
        end_answer(a);
        PyErr_NoMemory();
        return -1;
    }
    if (a->label <= L_KPO && a->confidence < j->least) {
        a->label = L_UNKNOWN;
        a->reason = R_LOW;
        a->service = -1;
    }
    return 0;
}

static PyObject *item(const Judge *j, int name, Py_ssize_t i) {
    return Py_XNewRef(PyList_GetItem(j->objects[name], i));
}

static int set(PyObject *tuple, Py_ssize_t i, PyObject *value) {
    return value ? PyTuple_SetItem(tuple, i, value) : -1;
}

/* What holds only texts, numbers and the like is in no circle: the collector need not look at it. */
static PyObject *simple(PyObject *tuple) {
    if (tuple) PyObject_GC_UnTrack(tuple);
    return tuple;
}

static PyObject *span_of(const Answer *a, const Hit *hit) {
    return Py_BuildValue("(ii)", source_of(&a->work.moves, hit->start), source_of(&a->work.moves, hit->end));
}

static PyObject *citation(Judge *j, u32 concept, u32 language) {
    Py_ssize_t place = (Py_ssize_t)concept * j->reader->languages_count + language;
    PyObject *known = PyList_GetItem(j->citations, place);
    if (!known || known != Py_None) return Py_XNewRef(known);
    PyObject *made = PyObject_CallFunctionObjArgs(j->objects[O_CITE], PyList_GetItem(j->objects[O_CONCEPTS], concept),
                                                  PyList_GetItem(j->reader->languages, language), NULL);
    if (made && PyList_SetItem(j->citations, place, Py_NewRef(made)) < 0) Py_CLEAR(made);
    return made;
}

static PyObject *evidence_of(Answer *a, PyObject *text, const Hit *hit, double weight) {
    Judge *j = a->judge;
    Reader *r = j->reader;
    u32 concept = concept_of(j, hit), language = table(r, T_ENTRY_LANGUAGE, hit->entry);
    i32 start = source_of(&a->work.moves, hit->start), end = source_of(&a->work.moves, hit->end);
    return simple(filled(
        j->objects[O_EVIDENCE], 12, PyUnicode_Substring(text, start, end), PyLong_FromLong(start), PyLong_FromLong(end),
        item(j, O_CONCEPTS, concept), item(j, O_SIDES, side_of(j, hit)),
        item(j, O_BASES, of(j, J_CONCEPT_BASIS, concept)), item(j, O_KINDS, of(j, J_ENTRY_KIND, hit->entry)),
        Py_XNewRef(PyList_GetItem(r->ids, hit->entry)), Py_XNewRef(PyList_GetItem(r->languages, language)),
        Py_XNewRef(PyList_GetItem(r->zones, hit->zone)), PyFloat_FromDouble(weight), citation(j, concept, language)));
}

static PyObject *discard_of(const Answer *a, PyObject *text, i32 start, i32 end, u32 entry, u32 zone, int why,
                            PyObject *because) { /* steals because */
    const Judge *j = a->judge;
    const Reader *r = j->reader;
    start = source_of(&a->work.moves, start);
    end = source_of(&a->work.moves, end);
    return simple(filled(j->objects[O_DISCARD], 8, PyUnicode_Substring(text, start, end), PyLong_FromLong(start),
                         PyLong_FromLong(end), item(j, O_CONCEPTS, table(r, T_ENTRY_CONCEPT, entry)),
                         Py_XNewRef(PyList_GetItem(r->ids, entry)), Py_XNewRef(PyList_GetItem(r->zones, zone)),
                         item(j, O_WHYS, why), because));
}

static int counts(const Answer *a, Py_ssize_t i) {
    return a->weights.at[i] > 0 && side_of(a->judge, &a->work.hits.at[i]) != NO_SIDE;
}

static PyObject *all_evidence(Answer *a, PyObject *text) {
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) size += counts(a, i);
    PyObject *out = PyTuple_New(size);
    for (Py_ssize_t i = 0, at = 0; out && i < a->work.hits.size; i++)
        if (counts(a, i) && set(out, at++, evidence_of(a, text, &a->work.hits.at[i], a->weights.at[i])) < 0)
            Py_CLEAR(out);
    return out;
}

static int by_place(const void *a, const void *b) {
    const i32 *x = a, *y = b;
    for (int i = 0; i < 4; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* What was dropped, and hits without weight; by place and rule where there are both. */
static PyObject *all_discards(const Answer *a, PyObject *text) {
    const Judge *j = a->judge;
    const Reader *r = j->reader;
    const Work *w = &a->work;
    Py_ssize_t dropped = w->dropped.size, size = dropped;
    for (Py_ssize_t i = 0; i < w->hits.size; i++)
        size += a->weights.at[i] <= 0 && side_of(j, &w->hits.at[i]) != NO_SIDE;
    Place *places = size > dropped ? malloc((size_t)size * sizeof(Place)) : NULL;
    if (size > dropped && !places) return PyErr_NoMemory();
    if (places) {
        Py_ssize_t at = 0;
#define PLACE(x, i)                                                                                                 \
    (Place) {                                                                                                       \
        source_of(&w->moves, (x)->start), source_of(&w->moves, (x)->end), (i32)table(r, T_ENTRY_ORDER, (x)->entry), \
            (i32)(i)                                                                                                \
    }
        for (; at < dropped; at++) places[at] = PLACE(&w->dropped.at[at], at);
        for (Py_ssize_t i = 0; i < w->hits.size; i++)
            if (a->weights.at[i] <= 0 && side_of(j, &w->hits.at[i]) != NO_SIDE) {
                places[at++] = PLACE(&w->hits.at[i], dropped + i);
            }
#undef PLACE
        qsort(places, (size_t)size, sizeof(Place), by_place);
    }
    PyObject *out = PyTuple_New(size);
    for (Py_ssize_t i = 0; out && i < size; i++) {
        Py_ssize_t index = places ? places[i].index : i;
        PyObject *row;
        if (index < dropped) {
            const Dropped *d = &w->dropped.at[index];
            row = discard_of(a, text, d->start, d->end, d->entry, d->zone, d->why, because_of(w, d));
        } else {
            const Hit *h = &w->hits.at[index - dropped];
            int why = j->numbers[N_ZONES][h->zone] <= 0 ? Y_ZONE : Y_SATURATED;
            row = discard_of(a, text, h->start, h->end, h->entry, h->zone, why,
                             Py_XNewRef(PyList_GetItem(r->zones, h->zone)));
        }
        if (set(out, i, row) < 0) Py_CLEAR(out);
    }
    free(places);
    return out;
}

/* Judge._trait of one row of the comparison: the pole named most often, the first by name where there are several */
static PyObject *trait(const Answer *a, u32 row) {
    Judge *j = a->judge;
    i32 best = -1, count = 0, spans = 0;
    for (i32 pole = 0; pole < j->poles; pole++) {
        if (of(j, J_POLE_ROW, pole) != row) continue;
        i32 here = 0;
        for (Py_ssize_t i = 0; i < a->work.hits.size; i++)
            here += kind_of(j, &a->work.hits.at[i]) & TRAIT_KIND &&
                    of(j, J_CONCEPT_POLE, concept_of(j, &a->work.hits.at[i])) == (u32)pole + 1;
        spans += here;
        if (here > count) {
            best = pole;
            count = here;
        }
    }
    if (best < 0) return Py_XNewRef(PyTuple_GetItem(j->objects[O_SILENT], row));
    PyObject *places = PyTuple_New(spans);
    i32 at = 0;
    for (Py_ssize_t i = 0; places && i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        u32 pole = kind_of(j, hit) & TRAIT_KIND ? of(j, J_CONCEPT_POLE, concept_of(j, hit)) : 0;
        if (pole && of(j, J_POLE_ROW, pole - 1) == row && set(places, at++, span_of(a, hit)) < 0) Py_CLEAR(places);
    }
    PyObject *known = PyList_GetItem(j->objects[O_POLES], best); /* its basis, side and name */
    if (!known) Py_CLEAR(places);
    return filled(j->objects[O_TRAIT], 4, known ? Py_XNewRef(PyTuple_GetItem(known, 0)) : NULL,
                  known ? Py_XNewRef(PyTuple_GetItem(known, 1)) : NULL,
                  known ? Py_XNewRef(PyTuple_GetItem(known, 2)) : NULL, places);
}

static PyObject *all_traits(const Answer *a) {
    const Judge *j = a->judge;
    Py_ssize_t size = PyTuple_Size(j->objects[O_SILENT]);
    int any = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size && !any; i++)
        any = (kind_of(j, &a->work.hits.at[i]) & TRAIT_KIND) != 0;
    if (!any) return Py_NewRef(j->objects[O_SILENT]);
    PyObject *out = PyTuple_New(size);
    for (Py_ssize_t row = 0; out && row < size; row++)
        if (set(out, row, trait(a, (u32)row)) < 0) Py_CLEAR(out);
    return out;
}

/* The place of the one mode of delivery that is stated, -1 where there are several, -2 where there is none. */
static i32 mode_of(const Answer *a, Py_ssize_t *count) {
    const Judge *j = a->judge;
    i32 mode = -2;
    *count = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        if (!(kind_of(j, hit) & DELIVERY)) continue;
        i32 here = (i32)of(j, J_CONCEPT_MODE, concept_of(j, hit));
        mode = ++*count == 1 || mode == here ? here : -1;
    }
    return mode;
}

static PyObject *delivery(const Answer *a) {
    const Judge *j = a->judge;
    Py_ssize_t count, at = 0;
    i32 mode = mode_of(a, &count);
    if (!count) return Py_NewRef(j->objects[O_UNSTATED]);
    PyObject *spans = PyTuple_New(count);
    for (Py_ssize_t i = 0; spans && i < a->work.hits.size; i++)
        if (kind_of(j, &a->work.hits.at[i]) & DELIVERY && set(spans, at++, span_of(a, &a->work.hits.at[i])) < 0)
            Py_CLEAR(spans);
    return filled(j->objects[O_DELIVERY], 3, mode < 0 ? Py_NewRef(Py_None) : item(j, O_MODES, mode),
                  Py_NewRef(j->objects[O_STATED]), spans);
}

/* bits of the languages of the evidence; of all that was found where the model decided */
static u32 spoken(const Answer *a) {
    u32 out = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++)
        if (counts(a, i) || a->reason == R_MODEL)
            out |= 1u << table(a->judge->reader, T_ENTRY_LANGUAGE, a->work.hits.at[i].entry);
    return out;
}

/* By name, as a tuple or in one text; made once for each combination. */
static PyObject *languages(const Answer *a, int joined) {
    Judge *j = a->judge;
    const Reader *r = j->reader;
    u32 bits = spoken(a), place = bits << 1 | (u32)joined;
    if (j->spoken[place]) return Py_NewRef(j->spoken[place]);
    PyObject *names = PyList_New(0), *space = PyUnicode_FromString(" "), *made = NULL;
    for (int k = 0; names && k < r->languages_count; k++)
        if (bits >> k & 1 && PyList_Append(names, PyList_GetItem(r->languages, k)) < 0) Py_CLEAR(names);
    if (names && space && PyList_Sort(names) == 0)
        made = joined ? PyUnicode_Join(space, names) : PyList_AsTuple(names);
    Py_XDECREF(names);
    Py_XDECREF(space);
    j->spoken[place] = made;
    return Py_XNewRef(made);
}

static int put_number(PyObject *into, PyObject *key, double value) {
    PyObject *number = PyFloat_FromDouble(value);
    int failed = !key || !number ? -1 : PyDict_SetItem(into, key, number);
    Py_XDECREF(number);
    return failed;
}

static PyObject *scores(const Answer *a) {
    PyObject *out = PyDict_New();
    for (int i = 0; out && i < 3; i++)
        if (put_number(out, PyList_GetItem(a->judge->objects[O_CLASSES], i), a->scores[i]) < 0) Py_CLEAR(out);
    return out;
}

/* scoring._shares */
static PyObject *services(Answer *a) {
    double total = 0.0;
    for (Py_ssize_t i = 0; i < a->lines.size; i++) total += a->line_weight.at[a->lines.at[i]];
    PyObject *out = PyDict_New();
    a->order.size = 0;
    for (Py_ssize_t i = 0; i < a->lines.size; i++) { /* not more than the hits, for which there is room */
        i32 line = a->lines.at[i];
        a->order.at[a->order.size++] = (Weighed){a->line_weight.at[line], line, line};
    }
    if (a->order.size > 1) qsort(a->order.at, (size_t)a->order.size, sizeof(Weighed), by_weight);
    for (Py_ssize_t i = 0; out && i < a->order.size; i++) {
        const Weighed *line = &a->order.at[i];
        double share = a->order.size < 2 ? 1.0 : line->weight / total;
        if (put_number(out, PyList_GetItem(a->judge->objects[O_SERVICES], line->index), share) < 0) Py_CLEAR(out);
    }
    return out;
}

static PyObject *judge_classify(Judge *j, PyObject *text) {
    Answer a;
    int state = answer(&a, j, text);
    if (!state && a.reason == R_MODEL) {
        end_answer(&a);
        state = 1;
    }
    if (state) return state < 0 ? NULL : Py_NewRef(Py_None);
    PyObject *type = j->objects[O_CLASSIFICATION];
    PyObject *fields[F_ALL] = {
        [F_LABEL] = item(j, O_LABELS, a.label),
        [F_SERVICE] = a.service < 0 ? Py_NewRef(Py_None) : item(j, O_SERVICES, a.service),
        [F_SERVICES] = services(&a),
        [F_CONFIDENCE] = PyFloat_FromDouble(a.confidence),
        [F_DECIDED_BY] = Py_NewRef(a.label == L_UNKNOWN ? Py_None : j->objects[O_BY_RULES]),
        [F_REASON] = item(j, O_REASONS, a.reason),
        [F_EVIDENCE] = all_evidence(&a, text),
        [F_DISCARDED] = all_discards(&a, text),
        [F_TRAITS] = all_traits(&a),
        [F_DELIVERY] = delivery(&a),
        [F_LANGUAGES] = languages(&a, 0),
        [F_SCORES] = scores(&a),
        [F_RULEBOOK] = Py_NewRef(j->objects[O_ID]),
        [F_LENGTH] = PyLong_FromLong(a.work.source_length),
        [F_SOURCE] = Py_NewRef(text),
    };
    end_answer(&a);
    PyObject *out = new_object(type, 0); /* as copying does: the fields are set past the frozen face */
    for (int i = 0; i < F_ALL; i++) {
        if (out &&
            (!fields[i] || PyObject_GenericSetAttr(out, PyList_GetItem(j->objects[O_FIELDS], i), fields[i]) < 0))
            Py_CLEAR(out);
        Py_XDECREF(fields[i]);
    }
    return out;
}

/* ---- results.Row.of ------------------------------------------------------------------------------ */

static int put_bytes(Bytes *out, const char *letters, Py_ssize_t size) {
    while (out->room - out->size < size) {
        Py_ssize_t here = out->size;
        out->size = out->room;
        if (!Bytes_add(out)) return -1;
        out->size = here;
    }
    memcpy(out->at + out->size, letters, (size_t)size);
    out->size += size;
    return 0;
}

static int put_text(Bytes *out, PyObject *text) {
    Py_ssize_t size;
    const char *letters = text ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    if (!letters) return -1;
    if (put_bytes(out, letters, size) == 0) return 0;
    PyErr_NoMemory();
    return -1;
}

static int put_point(Bytes *out, u32 c) {
    char b[4];
    if (c < 0x80) return b[0] = (char)c, put_bytes(out, b, 1);
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    b[0] = (char)((0xFF00 >> (more + 1) & 0xFF) | c >> 6 * more);
    for (int i = 1; i <= more; i++) b[i] = (char)(0x80 | (c >> 6 * (more - i) & 0x3F));
    return put_bytes(out, b, more + 1);
}

/* The words of a stretch with one space between, of so many code points at most. */
static int put_words(Bytes *out, const Answer *a, i32 start, i32 end) {
    const u32 *source = a->work.source, *codes = a->judge->reader->codes;
    int count = 0, gap = 0;
    for (i32 i = start; i < end && count < SHOWN; i++) {
        if (codes[source[i]] & SPACE) {
            gap = count > 0;
            continue;
        }
        if (gap) {
            if (put_bytes(out, " ", 1) < 0) return -1;
            count++;
            gap = 0;
            if (count == SHOWN) break;
        }
        if (put_point(out, source[i]) < 0) return -1;
        count++;
    }
    return 0;
}

static PyObject *made(Bytes *out) {
    PyObject *text = PyUnicode_DecodeUTF8((const char *)out->at, out->size, "surrogatepass");
    out->size = 0;
    return text;
}

typedef struct { double weight; i32 start, end, index; const char *concept; Py_ssize_t size; } Shown;

/* Puts a piece in its place among the weightiest; then the earliest, then the first. */
static void show(Shown *top, int *size, Shown piece) {
    top[*size] = piece;
    for (int k = *size; k > 0; k--) {
        const Shown *x = &top[k - 1], *y = &top[k];
        if (x->weight > y->weight || (x->weight == y->weight && x->start <= y->start)) break;
        Shown other = top[k];
        top[k] = top[k - 1];
        top[k - 1] = other;
    }
    if (*size < TOP) ++*size;
}

static PyObject *shown(const Answer *a, const Shown *top, int size, const char *before, Bytes *out) {
    for (int i = 0; i < size; i++) {
        char *number = PyOS_double_to_string(top[i].weight, 'f', 2, Py_DTSF_SIGN, NULL);
        int failed = !number || (i && put_bytes(out, "; ", 2) < 0) ||
                     put_words(out, a, top[i].start, top[i].end) < 0 || put_bytes(out, " (", 2) < 0 ||
                     put_bytes(out, before, (Py_ssize_t)strlen(before)) < 0 ||
                     put_bytes(out, top[i].concept, top[i].size) < 0 || put_bytes(out, " ", 1) < 0 ||
                     put_bytes(out, number, (Py_ssize_t)strlen(number)) < 0 || put_bytes(out, ")", 1) < 0;
        PyMem_Free(number);
        if (failed) return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    return made(out);
}

/* The weightiest pieces of evidence, for people. */
static PyObject *evidence_shown(const Answer *a, Bytes *out) {
    Shown top[TOP + 1];
    int size = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        Py_ssize_t letters;
        if (!counts(a, i)) continue;
        const char *concept = PyUnicode_AsUTF8AndSize(
            PyList_GetItem(a->judge->objects[O_CONCEPTS], concept_of(a->judge, hit)), &letters);
        if (!concept) return NULL;
        show(top, &size,
             (Shown){a->weights.at[i], source_of(&a->work.moves, hit->start), source_of(&a->work.moves, hit->end),
                     (i32)i, concept, letters});
    }
    return shown(a, top, size, "", out);
}

/* Judge._features, the weightiest of them */
static PyObject *features_shown(const Answer *a, Bytes *out) {
    Model *m = a->judge->model;
    Weighty found[FEATURES + 1];
    double all = 0.0;
    Shown top[TOP + 1];
    int side = a->label == L_BPO ? 0 : 1, size = 0,
        count = weightiest(m, a->work.data, a->work.length, side, FEATURES, found);
    if (count < 0) return PyErr_NoMemory();
    for (int i = 0; i < count; i++) {
        Py_ssize_t letters;
        const char *name = name_of(m, found[i].row, &letters) + 2;
        all += found[i].moved;
        show(top, &size,
             (Shown){found[i].moved, source_of(&a->work.moves, found[i].start),
                     source_of(&a->work.moves, found[i].end), i, name, letters - 2});
    }
    show(top, &size, (Shown){a->scores[side] - all, 0, 0, count, "all others", 10});
    return shown(a, top, size, "feature.", out);
}

/* Different names of the evidence in order, with a space between: of rules, or of rows of the comparison. */
static PyObject *named_once(const Answer *a, Bytes *out, int bases) {
    Judge *j = a->judge;
    PyObject *names = bases ? j->objects[O_BASES] : j->reader->ids;
    int count = 0, failed = 0;
    u32 first = 0;
    for (Py_ssize_t i = 0; i < a->work.hits.size && !failed; i++) {
        const Hit *hit = &a->work.hits.at[i];
        u32 name = bases ? of(j, J_CONCEPT_BASIS, concept_of(j, hit)) : hit->entry;
        if (!counts(a, i) || j->seen[name]) continue;
        j->seen[name] = 1;
        if (!count++) {
            first = name;
            continue;
        }
        if (count == 2) failed = put_text(out, PyList_GetItem(names, first)) < 0;
        failed = failed || put_bytes(out, " ", 1) < 0 || put_text(out, PyList_GetItem(names, name)) < 0;
    }
    for (Py_ssize_t i = 0; i < a->work.hits.size; i++) {
        const Hit *hit = &a->work.hits.at[i];
        j->seen[bases ? of(j, J_CONCEPT_BASIS, concept_of(j, hit)) : hit->entry] = 0;
    }
    if (failed) return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    return count == 1 ? Py_XNewRef(PyList_GetItem(names, first)) : made(out);
}

static PyObject *judge_row(Judge *j, PyObject *text) {
    Answer a;
    Bytes out = {0};
    int state = answer(&a, j, text);
    if (state) return state < 0 ? NULL : Py_NewRef(Py_None);
    Py_ssize_t said;
    i32 mode = mode_of(&a, &said);
    int any = 0, by_model = a.reason == R_MODEL;
    for (Py_ssize_t i = 0; i < a.work.hits.size && !any; i++) any = counts(&a, i);
    PyObject *nothing = j->objects[O_NOTHING], *by = j->objects[by_model ? O_BY_MODEL_CELL : O_BY_RULES_CELL];
    PyObject *evidence = NULL, *rules = NULL, *bases = NULL;
    if (by_model) {
        evidence = features_shown(&a, &out);
        rules = Py_NewRef(by);
        bases = Py_NewRef(by);
    } else if (any) {
        evidence = evidence_shown(&a, &out);
        rules = named_once(&a, &out, 0);
        bases = named_once(&a, &out, 1);
    } else {
        evidence = Py_NewRef(nothing);
        rules = Py_NewRef(nothing);
        bases = Py_NewRef(nothing);
    }
    PyObject *row = filled(j->objects[O_ROW], ROW_CELLS, item(j, O_LABEL_CELLS, a.label),
                           a.service < 0 ? Py_NewRef(nothing) : item(j, O_SERVICES, a.service),
                           PyFloat_FromDouble(a.confidence), Py_NewRef(a.label == L_UNKNOWN ? nothing : by),
                           item(j, O_REASON_CELLS, a.reason), evidence, rules, bases,
                           mode < 0 ? Py_NewRef(nothing) : item(j, O_MODES, mode), languages(&a, 1),
                           Py_NewRef(j->objects[O_OK]));
    free(out.at);
    end_answer(&a);
    return simple(row);
}

/* ---- the type ------------------------------------------------------------------------------------ */

static void judge_dealloc(Judge *j) {
    PyTypeObject *type = Py_TYPE((PyObject *)j);
    for (int i = 0; i < J_ALL + N_ALL; i++)
        if (j->views[i].obj) PyBuffer_Release(&j->views[i]);
    for (int i = 0; i < O_ALL; i++) Py_XDECREF(j->objects[i]);
    Py_XDECREF(j->citations);
    for (u32 i = 0; j->spoken && i < 2u << j->reader->languages_count; i++) Py_XDECREF(j->spoken[i]);
    free(j->spoken);
    Py_XDECREF((PyObject *)j->reader);
    Py_XDECREF((PyObject *)j->model);
    free(j->concept_left);
    free(j->seen);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))((PyObject *)j);
    Py_DECREF(type);
}

static int take_all(Judge *j, PyObject *tables, PyObject *numbers, PyObject *objects) {
    for (int i = 0; i < J_ALL; i++) {
        if (view_of(tables, TABLES[i], &j->views[i]) < 0) return -1;
        j->sizes[i] = j->views[i].len / (Py_ssize_t)sizeof(u32);
        j->tables[i] = j->views[i].buf;
    }
    Py_ssize_t wanted[N_ALL] = {PyList_Size(PyDict_GetItemString(objects, "kinds")), PyList_Size(j->reader->zones),
                                CONSTANTS};
    for (int i = 0; i < N_ALL; i++) {
        Py_buffer *view = &j->views[J_ALL + i];
        if (view_of(numbers, NUMBERS[i], view) < 0) return -1;
        if (view->len / (Py_ssize_t)sizeof(double) != wanted[i])
            return PyErr_SetString(PyExc_ValueError, NUMBERS[i]), -1;
        j->numbers[i] = view->buf;
    }
    for (int i = 0; i < O_ALL; i++) {
        PyObject *object = PyDict_GetItemString(objects, OBJECTS[i]); /* borrowed */
        if (!object) return PyErr_SetString(PyExc_KeyError, OBJECTS[i]), -1;
        j->objects[i] = Py_NewRef(object);
    }
    j->concepts = (i32)PyList_Size(j->objects[O_CONCEPTS]);
    j->services = (i32)PyList_Size(j->objects[O_SERVICES]);
    j->bases = (i32)PyList_Size(j->objects[O_BASES]);
    j->poles = (i32)PyList_Size(j->objects[O_POLES]);
    i32 entries = (i32)PyList_Size(j->reader->ids);
    if (PyErr_Occurred()) return -1;
    j->concept_left = malloc((size_t)(j->concepts + 1) * sizeof(double));
    j->seen = calloc((size_t)most(most(entries, j->bases), 1), 1);
    j->spoken = calloc((size_t)2 << j->reader->languages_count, sizeof *j->spoken);
    if (!j->concept_left || !j->seen || !j->spoken) return PyErr_NoMemory(), -1;
    for (i32 i = 0; i < j->concepts; i++) j->concept_left[i] = 1.0;
    Py_ssize_t pairs = (Py_ssize_t)j->concepts * j->reader->languages_count;
    j->citations = PyList_New(pairs);
    for (Py_ssize_t i = 0; j->citations && i < pairs; i++) PyList_SetItem(j->citations, i, Py_NewRef(Py_None));
    return j->citations ? 0 : -1;
}

static PyObject *judge_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *keys[] = {"reader", "model", "least", "tables", "numbers", "objects", NULL};
    PyObject *reader, *model, *tables, *numbers, *objects;
    double least_;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!OdO!O!O!", keys, reader_type, &reader, &model, &least_,
                                     &PyDict_Type, &tables, &PyDict_Type, &numbers, &PyDict_Type, &objects))
        return NULL;
    if (model != Py_None && !PyObject_TypeCheck(model, model_type)) {
        PyErr_SetString(PyExc_TypeError, "model must be a Model or None");
        return NULL;
    }
    Judge *j = (Judge *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!j) return NULL;
    j->reader = (Reader *)Py_NewRef(reader);
    j->model = model == Py_None ? NULL : (Model *)Py_NewRef(model);
    j->least = least_;
    if (take_all(j, tables, numbers, objects) < 0) {
        Py_DECREF((PyObject *)j);
        return NULL;
    }
    return (PyObject *)j;
}

static PyMethodDef judge_methods[] = {
    {"classify", (PyCFunction)judge_classify, METH_O,
     "The Classification of a text, or None where Python is to make it."},
    {"row", (PyCFunction)judge_row, METH_O, "The Row of a text, or None where Python is to make it."},
    {0}};
static PyType_Slot judge_slots[] = {{Py_tp_new, judge_new},
                                    {Py_tp_dealloc, judge_dealloc},
                                    {Py_tp_methods, judge_methods},
                                    {Py_tp_doc, "Judges texts by what a Reader reads, and perhaps a Model."},
                                    {0, NULL}};
static PyType_Spec judge_spec = {"outsourcing_classifier._native.Judge", sizeof(Judge), 0, Py_TPFLAGS_DEFAULT,
                                 judge_slots};

int add_judging(PyObject *module) {
    PyObject *type = PyType_FromSpec(&judge_spec);
    int failed = type ? PyModule_AddObjectRef(module, "Judge", type) : -1;
    Py_XDECREF(type);
    return failed;
}
