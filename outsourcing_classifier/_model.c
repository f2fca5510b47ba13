/* The trained model in C: what model.Model.judge and Model.weightiest do. */

#include "_native.h"
#include <math.h>

enum { CLASSES = 3, MOST_KNOWN = 1 << 15, MEMO = 1 << 16, MOST_LETTERS = 1 << 22 };

typedef struct { double idf, against[2]; u32 count; } Gram; /* against: for BPO and KPO, less the one for NEITHER */
typedef struct { u32 hash, letters, rows; i32 length, count; } Known;
ROWS(Known, Knowns)

struct Model {
    PyObject_HEAD
    char *letters;        /* all names, a line end behind each */
    u32 *name_at, *slots; /* slots: 1 + row, under the upper bits of the name's hash */
    u32 slot_mask, names;
    Gram *grams;
    double bias[2], surest; /* from which probability on a side is named */
    Numbers met;            /* rows, in the order in which a text has them */
    Bytes name;
    /* words met before, with the rows of their features */
    u32 memo[MEMO]; /* open hash table: 1 + place */
    Knowns known;
    Bytes known_letters;
    Numbers known_rows;
};

PyTypeObject *model_type;

double surest(const Model *model) { return model->surest; }

static void model_dealloc(Model *m) {
    PyTypeObject *type = Py_TYPE((PyObject *)m);
    void *held[] = {m->letters,  m->name_at,          m->slots,        m->grams, m->met.at, m->name.at,
                    m->known.at, m->known_letters.at, m->known_rows.at};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) free(held[i]);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))((PyObject *)m);
    Py_DECREF(type);
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *keys[] = {"names", "idf", "weights", "bias", "surest", NULL};
    const char *letters;
    Py_buffer idf = {0}, weights = {0};
    Py_ssize_t size;
    double bias[CLASSES], sure;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y#y*y*(ddd)d", keys, &letters, &size, &idf, &weights, &bias[0],
                                     &bias[1], &bias[2], &sure))
        return NULL;
    Model *m = (Model *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!m) goto failed;
    u32 slots = 64;
    for (Py_ssize_t i = 0; i < size; i++) m->names += letters[i] == '\n';
    m->names += size > 0;
    if (idf.len != (Py_ssize_t)(m->names * sizeof(double)) || weights.len != CLASSES * idf.len) {
        PyErr_SetString(PyExc_ValueError, "a number for each name and three weights are wanted");
        goto failed;
    }
    while (slots < 3 * m->names) slots *= 2;
    m->slot_mask = slots - 1;
    m->letters = calloc((size_t)size + PAD, 1);
    m->name_at = calloc((size_t)m->names + 2, sizeof(u32));
    m->slots = calloc(slots, sizeof(u32));
    m->grams = calloc((size_t)m->names + 1, sizeof(Gram));
    if (!m->letters || !m->name_at || !m->slots || !m->grams) {
        PyErr_NoMemory();
        goto failed;
    }
    memcpy(m->letters, letters, (size_t)size);
    u32 name = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        if (letters[i] == '\n') m->name_at[++name] = (u32)i + 1;
    if (m->names) m->name_at[m->names] = (u32)size + 1;
    for (name = 0; name < m->names; name++) {
        const double *row = (const double *)weights.buf + (size_t)CLASSES * name;
        m->grams[name] = (Gram){((const double *)idf.buf)[name], {row[0] - row[2], row[1] - row[2]}, 0};
        u32 hash = hash_of((const uint8_t *)m->letters + m->name_at[name],
                           (i32)(m->name_at[name + 1] - m->name_at[name] - 1));
        u32 slot = hash & m->slot_mask;
        while (m->slots[slot]) slot = (slot + 1) & m->slot_mask;
        m->slots[slot] = (hash & ~m->slot_mask) | (name + 1);
    }
    m->bias[0] = bias[0] - bias[2];
    m->bias[1] = bias[1] - bias[2];
    m->surest = sure;
    PyBuffer_Release(&idf);
    PyBuffer_Release(&weights);
    return (PyObject *)m;
failed:
    PyBuffer_Release(&idf);
    PyBuffer_Release(&weights);
    Py_XDECREF((PyObject *)m);
    return NULL;
}

/* The row of a feature, or -1. */
static i32 row_of(const Model *m, const uint8_t *name, i32 length) {
    u32 hash = hash_of(name, length);
    for (u32 slot = hash & m->slot_mask; m->slots[slot]; slot = (slot + 1) & m->slot_mask) {
        if ((m->slots[slot] ^ hash) & ~m->slot_mask) continue;
        u32 row = (m->slots[slot] & m->slot_mask) - 1, at = m->name_at[row];
        if (m->name_at[row + 1] - at - 1 == (u32)length && !memcmp(m->letters + at, name, (size_t)length))
            return (i32)row;
    }
    return -1;
}

static int keep_row(Model *m, const uint8_t *name, i32 length) {
    i32 row = row_of(m, name, length);
    if (row < 0) return 0;
    i32 *new_ = Numbers_add(&m->known_rows);
    if (!new_) return -1;
    *new_ = row;
    return 0;
}

/* model._of_word: the rows of the word itself and of its groups of four and five letters */
static int learn(Model *m, const uint8_t *letters, Known *known) {
    i32 length = known->length;
    uint8_t *name = m->name.at; /* long enough: count_in */
    memcpy(name, "w ", 2);
    memcpy(name + 2, letters, (size_t)length);
    if (keep_row(m, name, length + 2) < 0) return -1;
    name[1] = '<'; /* the word with its edges begins here */
    name[length + 2] = '>';
    for (i32 size = 4; size <= 5; size++)
        for (i32 i = 0; length + 2 > size && i + size <= length + 2; i++) {
            uint8_t group[7 + PAD] = {'c', ' '};
            memcpy(group + 2, name + 1 + i, (size_t)size);
            if (keep_row(m, group, size + 2) < 0) return -1;
        }
    known->count = (i32)m->known_rows.size - (i32)known->rows;
    return 0;
}

static const Known *known_word(Model *m, const uint8_t *letters, i32 length) {
    u32 hash = hash_of(letters, length), slot = hash % MEMO;
    for (; m->memo[slot]; slot = (slot + 1) % MEMO) {
        const Known *known = &m->known.at[m->memo[slot] - 1];
        if (known->hash == hash && known->length == length &&
            !memcmp(m->known_letters.at + known->letters, letters, (size_t)length))
            return known;
    }
    if (m->known.size >= MOST_KNOWN || m->known_letters.size > MOST_LETTERS) {
        memset(m->memo, 0, sizeof m->memo);
        m->known.size = m->known_letters.size = m->known_rows.size = 0;
        slot = hash % MEMO;
    }
    Known new_ = {hash, (u32)m->known_letters.size, (u32)m->known_rows.size, length, 0};
    if (learn(m, letters, &new_) < 0) return NULL;
    for (i32 i = 0; i < length; i++) {
        uint8_t *letter = Bytes_add(&m->known_letters);
        if (!letter) return NULL;
        *letter = letters[i];
    }
    Known *known = Knowns_add(&m->known);
    if (!known) return NULL;
    *known = new_;
    m->memo[slot] = (u32)m->known.size;
    return known;
}

/* Model._placed: what is done with each feature of a text in turn, until it says enough (1) or fails (-1) */
typedef int (*Step)(Model *m, i32 row, i32 start, i32 end, void *more);

static int each(Model *m, const uint8_t *data, i32 length, Step step, void *more) {
    Span word, before = {0, 0};
    int state = 0;
    while (m->name.room < 2 * (Py_ssize_t)length + 16 + PAD) {
        m->name.size = m->name.room;
        if (!Bytes_add(&m->name)) return -1;
    }
    for (i32 from = 0; next_token(data, &from, length, &word); before = word) {
        i32 size = word.end - word.start;
        const Known *known = known_word(m, data + word.start, size);
        if (!known) return -1;
        for (i32 i = 0; i < known->count; i++)
            if ((state = step(m, m->known_rows.at[known->rows + (u32)i], word.start, word.end, more))) return state;
        if (!before.end || word.start - before.end != 1) continue;
        i32 first = before.end - before.start;
        uint8_t *name = m->name.at;
        memcpy(name, "p ", 2);
        memcpy(name + 2, data + before.start, (size_t)first);
        name[first + 2] = ' ';
        memcpy(name + first + 3, data + word.start, (size_t)size);
        i32 row = row_of(m, name, first + size + 3);
        if (row >= 0 && (state = step(m, row, before.start, word.end, more))) return state;
    }
    return 0;
}

static int meet(Model *m, i32 row, i32 start, i32 end, void *more) {
    (void)start, (void)end, (void)more;
    if (m->grams[row].count++) return 0;
    i32 *new_ = Numbers_add(&m->met);
    if (!new_) return -1;
    *new_ = row;
    return 0;
}

static int count_in(Model *m, const uint8_t *data, i32 length) { return each(m, data, length, meet, NULL); }

static double raw_of(const Gram *gram) {
    return gram->count > 1 ? gram->idf * (1.0 + log((double)gram->count)) : gram->idf;
}

static void forget(Model *m) {
    for (Py_ssize_t i = 0; i < m->met.size; i++) m->grams[m->met.at[i]].count = 0;
    m->met.size = 0;
}

int judge_folded(Model *m, const uint8_t *data, i32 length, Verdict *out) {
    double square = 0.0, sums[2] = {0.0, 0.0}, powers[CLASSES], total = 0.0;
    int failed = count_in(m, data, length);
    for (Py_ssize_t i = 0; !failed && i < m->met.size; i++) {
        const Gram *gram = &m->grams[m->met.at[i]];
        double raw = raw_of(gram);
        square += raw * raw;
        sums[0] += raw * gram->against[0];
        sums[1] += raw * gram->against[1];
    }
    forget(m);
    if (failed) return -1;
    double norm = sqrt(square), top = 0.0;
    if (norm == 0.0) norm = 1.0;
    for (int c = 0; c < CLASSES; c++) {
        out->scores[c] = c < 2 ? m->bias[c] + sums[c] / norm : 0.0;
        if (out->scores[c] > top) top = out->scores[c];
    }
    for (int c = 0; c < CLASSES; c++) total += powers[c] = exp(out->scores[c] - top);
    for (int c = 0; c < CLASSES; c++) out->chances[c] = powers[c] / total;
    return 0;
}

/* A copy of folded text with PAD behind it, to be freed. */
static uint8_t *copied(PyObject *folded, i32 *size) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(folded, &bytes, &length) < 0) return NULL;
    if (length >= INT32_MAX / 4)
        return PyErr_SetString(PyExc_OverflowError, "a text of more than 500 million bytes"), NULL;
    uint8_t *out = calloc((size_t)length + PAD, 1);
    if (!out) return PyErr_NoMemory(), NULL;
    memcpy(out, bytes, (size_t)length);
    *size = (i32)length;
    return out;
}

static PyObject *model_judge(Model *m, PyObject *folded) {
    i32 size;
    Verdict v;
    uint8_t *data = copied(folded, &size);
    if (!data) return NULL;
    int failed = judge_folded(m, data, size, &v);
    free(data);
    if (failed) return PyErr_NoMemory();
    return Py_BuildValue("(ddd)(ddd)", v.chances[0], v.chances[1], v.chances[2], v.scores[0], v.scores[1],
                         v.scores[2]);
}

typedef struct { Weighty *top; int size, placed; } Search;

static int weightier(const Model *m, const Weighty *a, const Weighty *b) {
    if (fabs(a->moved) != fabs(b->moved)) return fabs(a->moved) > fabs(b->moved);
    const u32 *at = m->name_at;
    u32 x = at[a->row + 1] - at[a->row] - 1, y = at[b->row + 1] - at[b->row] - 1;
    int order = memcmp(m->letters + at[a->row], m->letters + at[b->row], x < y ? x : y);
    return order ? order < 0 : x < y;
}

static int find_place(Model *m, i32 row, i32 start, i32 end, void *more) {
    Search *search = more;
    if (!m->grams[row].count) return 0; /* 1 + its place among the weightiest, until it is found */
    Weighty *found = &search->top[m->grams[row].count - 1];
    found->start = start;
    found->end = end;
    m->grams[row].count = 0;
    return ++search->placed == search->size;
}

const char *name_of(const Model *m, i32 row, Py_ssize_t *size) {
    *size = (Py_ssize_t)(m->name_at[row + 1] - m->name_at[row] - 1);
    return m->letters + m->name_at[row];
}

/* Model.weightiest */
int weightiest(Model *m, const uint8_t *data, i32 length, int side, int most_, Weighty *top) {
    int size = 0, failed = count_in(m, data, length);
    double square = 0.0;
    for (Py_ssize_t i = 0; i < m->met.size; i++)
        square += raw_of(&m->grams[m->met.at[i]]) * raw_of(&m->grams[m->met.at[i]]);
    double norm = square == 0.0 ? 1.0 : sqrt(square);
    for (Py_ssize_t i = 0; i < m->met.size; i++) {
        const Gram *gram = &m->grams[m->met.at[i]];
        double value = raw_of(gram) / norm;
        top[size] = (Weighty){m->met.at[i], 0, 0, value, value * gram->against[side]};
        for (int k = size; k > 0 && weightier(m, &top[k], &top[k - 1]); k--) {
            Weighty other = top[k];
            top[k] = top[k - 1];
            top[k - 1] = other;
        }
        if (size < most_) size++;
    }
    forget(m);
    Search search = {top, size, 0};
    for (int i = 0; i < size; i++) m->grams[top[i].row].count = (u32)i + 1;
    if (!failed && size) failed = each(m, data, length, find_place, &search) < 0;
    for (int i = 0; i < size; i++) m->grams[top[i].row].count = 0;
    return failed ? -1 : size;
}

static PyObject *model_weightiest(Model *m, PyObject *args) {
    PyObject *folded, *out = NULL;
    int side, most_;
    i32 length;
    if (!PyArg_ParseTuple(args, "Oii", &folded, &side, &most_)) return NULL;
    if (side < 0 || side > 1 || most_ < 1)
        return PyErr_SetString(PyExc_ValueError, "side: 0 or 1; most: 1 or more"), NULL;
    uint8_t *data = copied(folded, &length);
    if (!data) return NULL;
    Weighty *top = calloc((size_t)most_ + 1, sizeof(Weighty));
    int size = top ? weightiest(m, data, length, side, most_, top) : -1;
    free(data);
    out = size < 0 ? PyErr_NoMemory() : PyList_New(size);
    for (int i = 0; out && i < size; i++) {
        Py_ssize_t letters;
        const char *name = name_of(m, top[i].row, &letters);
        PyObject *row = Py_BuildValue("s#iidd", name, letters, top[i].start, top[i].end, top[i].value, top[i].moved);
        if (!row || PyList_SetItem(out, i, row) < 0) Py_CLEAR(out);
    }
    free(top);
    return out;
}

static PyMethodDef model_methods[] = {
    {"judge", (PyCFunction)model_judge, METH_O, "Probabilities of BPO, KPO and NEITHER, and their scores."},
    {"weightiest", (PyCFunction)model_weightiest, METH_VARARGS,
     "(name, start, end, value, what it moves the score by) of the features that move the score of a side most."},
    {0}};
static PyType_Slot model_slots[] = {{Py_tp_new, model_new},
                                    {Py_tp_dealloc, model_dealloc},
                                    {Py_tp_methods, model_methods},
                                    {Py_tp_doc, "A linear model over words, pairs of words and letter groups."},
                                    {0, NULL}};
static PyType_Spec model_spec = {"outsourcing_classifier._native.Model", sizeof(Model), 0, Py_TPFLAGS_DEFAULT,
                                 model_slots};

int add_model(PyObject *module) {
    model_type = (PyTypeObject *)PyType_FromSpec(&model_spec);
    return model_type ? PyModule_AddObjectRef(module, "Model", (PyObject *)model_type) : -1;
}
