/* What the C files share. They do what text, matcher, zones, scoring, model and judge do, to the last bit; those
Python modules are the reference and the fallback, and tests/test_native.py compares the two.

Built against the stable interface of CPython 3.11. */

#ifndef OUTSOURCING_CLASSIFIER_NATIVE_H
#define OUTSOURCING_CLASSIFIER_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define DROP 0x81
#define EXPAND 0x8D
#define CODE_POINTS 0x110000
#define LONGEST 50000000 /* code points of a text; more have no room in 32-bit places */
#define PAD 16 /* bytes behind letters that may be read */

enum { SENTENCE = 160, TITLE_WORDS = 16, TITLE_BYTES = 180, REACH = 600, FAR = 200, NEGATED_WORDS = 14 };
enum { CLEAR_MARKS = 5, BEFORE_HEAD = 30, PHRASE_BYTES = 90, PHRASE_WORDS = 9, MOST_LANGUAGES = 16 };
/* what a code point is beside its folded byte: bits of look() */
enum { LOWER = 1 << 16, UPPER = 1 << 17, SPACE = 1 << 18, EVENT = 1 << 19 };
/* of a word */
enum { STOP = 1, SKIP = 2, BREAK = 4, JOIN = 8, TAIL = 16, RANK = 32 };
/* of an entry */
enum { MASK = 1, HEAD = 2, TITLE = 4, SILENT = 8, TRAIT = 16, OUTSIDE = 32 };
/* of a zone */
enum { UNTOLD = 1, TELLING = 2 };
enum { EFFECT_ZONE, EFFECT_NEGATE, EFFECT_STOP, EFFECT_NEUTRAL };
enum { SCOPE_SECTION, SCOPE_SENTENCE, SCOPE_OTHER, SCOPE_AFTER };
/* why an occurrence does not count, by name */
enum { WHY_COVERED, WHY_FOREIGN, WHY_MASKED, WHY_NEGATED, WHY_NOT_HEAD };

#ifdef __GNUC__
#define FETCH(place) __builtin_prefetch(place)
#else
#define FETCH(place) ((void)(place))
#endif

typedef uint32_t u32;
typedef int32_t i32;

/* ---- growing rows of numbers ------------------------------------------------------------------ */

#define ROWS(T, name)                                              \
    typedef struct {                                               \
        T *at;                                                     \
        Py_ssize_t size, room;                                     \
    } name;                                                        \
    static inline T *name##_add(name *rows) {                      \
        if (rows->size == rows->room) {                            \
            Py_ssize_t room = rows->room ? 2 * rows->room : 64;    \
            T *more = realloc(rows->at, (size_t)room * sizeof(T)); \
            if (!more) return NULL;                                \
            rows->at = more;                                       \
            rows->room = room;                                     \
        }                                                          \
        return &rows->at[rows->size++];                            \
    }

typedef struct { i32 start, end; } Span;
typedef struct { i32 start, end; u32 word; } Word;
/* A word of the vocabulary; length 0: none. start: 0, or where a walk that it begins stands (see move) */
typedef struct { u32 class_, start; uint16_t marks, length; uint8_t traits, head[PAD]; } Lexeme;
/* What terms stand for: where their rows begin and how many there are */
typedef struct {
    u32 rules, masks, cues, objects, verbs, rule_count, mask_count, cue_count, object_count, verb_count;
} Use;
typedef struct { u32 class_, to; } Jump; /* first of each state: its mask and its use, or 0 */
typedef struct { i32 start, end; u32 use; } Found;
typedef struct { i32 start, end; u32 entry; i32 length, count; Span parts[2]; } Candidate;
typedef struct { i32 start, end; u32 cue; } Cue;
typedef struct { i32 start, end; u32 zone; } Stretch;
typedef struct { i32 start, end, first, last; } Phrase;
typedef struct { i32 since, to, start, end; } Excluded;
typedef struct { i32 start, end, owner; } Owned;
typedef struct { i32 start, end; u32 entry, zone; } Hit;
typedef struct { i32 start, end; u32 entry, zone; int why; i32 by, because; i32 order; } Dropped;
typedef struct { i32 start, end; int kind; } Edit;
typedef struct { i32 at, shift; } Move;

ROWS(Word, Words)
ROWS(Found, Founds)
ROWS(Candidate, Candidates)
ROWS(Cue, Cues)
ROWS(Stretch, Stretchs)
ROWS(Phrase, Phrases)
ROWS(Excluded, Excludeds)
ROWS(Owned, Owneds)
ROWS(Hit, Hits)
ROWS(Dropped, Droppeds)
ROWS(Edit, Edits)
ROWS(Move, Moves)
ROWS(i32, Numbers)
ROWS(uint8_t, Bytes)
ROWS(double, Doubles)

/* room for a while: what was in it is gone */
static inline void *room_for(Bytes *rows, size_t size) {
    if ((size_t)rows->room < size) {
        free(rows->at);
        rows->room = 0;
        rows->at = malloc(size + size / 4);
        if (!rows->at) return NULL;
        rows->room = (Py_ssize_t)(size + size / 4);
    }
    return rows->at;
}

#define ADD(type, rows, ...)            \
    do {                                \
        type *new_ = type##s_add(rows); \
        if (!new_) return -1;           \
        *new_ = (type){__VA_ARGS__};    \
    } while (0)

/* ---- the reader -------------------------------------------------------------------------------- */

/* a list of what has a name in Python: numbers and names of one row each */
#define NUMBERED(number, name) number,
#define NAMED(number, name) name,

#define READER_TABLES(X)                                                                                      \
    X(T_MOVES_AT, "moves_at") X(T_MOVE_CLASSES, "move_classes") X(T_MOVE_STATES, "move_states")               \
    X(T_STATE_USE, "state_use") X(T_RULES_AT, "rules_at") X(T_RULES, "rules") X(T_MASKS_AT, "masks_at")       \
    X(T_MASKS, "masks") X(T_CUES_AT, "cues_at") X(T_CUES, "cues") X(T_OBJECTS_AT, "objects_at")               \
    X(T_OBJECTS, "objects") X(T_VERBS, "verbs") X(T_VERB_SETS_AT, "verb_sets_at") X(T_VERB_SETS, "verb_sets") \
    X(T_TOKEN_CLASS, "token_class") X(T_SPECIAL_TRAITS, "special_traits") X(T_SPECIAL_MARKS, "special_marks") \
    X(T_ENTRY_TRAITS, "entry_traits") X(T_ENTRY_LANGUAGE, "entry_language") X(T_ENTRY_RANK, "entry_rank")     \
    X(T_ENTRY_ORDER, "entry_order") X(T_ENTRY_CONCEPT, "entry_concept") X(T_GAPS, "gaps")                     \
    X(T_CUE_EFFECT, "cue_effect") X(T_CUE_SCOPE, "cue_scope") X(T_CUE_ZONE, "cue_zone")                       \
    X(T_ZONE_TRAITS, "zone_traits") X(T_LANGUAGE_HEAD_LAST, "language_head_last")                             \
    X(T_LANGUAGE_FOREIGN, "language_foreign") X(T_CODES, "codes") X(T_NAMED_ZONES, "named_zones")
enum { READER_TABLES(NUMBERED) T_ALL };
/* rows of named_zones */
enum { Z_TITLE, Z_BODY, Z_DUTIES, Z_EMPLOYER, Z_REQUIREMENTS, Z_SOLE, Z_MENTION, Z_MODIFIER, Z_ALL };

typedef struct Reader Reader;
/* rows used for a while: two at a time where they have letters */
enum { S_RAW, S_FOLDED, S_A, S_B, S_C, SCRATCHES };

/* One text being read. */
typedef struct {
    Reader *reader;
    u32 *source; /* the text's code points */
    i32 source_length;
    uint8_t *data; /* folded */
    i32 length;
    Moves moves;
    Words words;
    Founds found, verbs, objects;
    Candidates candidates, kept, lost;
    Cues cues;
    Numbers starts, start_zones; /* sections */
    Stretchs spans;
    Phrases phrases;
    Excludeds excluded;
    Owneds owned[2];
    Hits hits;
    Droppeds dropped;
    Edits edits;
    Bytes scratch[SCRATCHES];
    i32 title_end, told;
} Work;

struct Reader {
    PyObject_HEAD
    PyObject *look;    /* code point -> folded byte | shape << 8 | LOWER | UPPER | SPACE */
    PyObject *spell;   /* ligature -> its letters */
    PyObject *entries; /* rules, actions, masks */
    PyObject *reasons; /* Why members, in the order of WHY_ above */
    PyObject *languages, *ids, *zones, *make_hit, *make_dropped, *endings;
    const u32 *tables[T_ALL]; /* of the views */
    Py_ssize_t sizes[T_ALL];
    Py_buffer views[T_ALL];
    u32 *codes;       /* by code point; 0: not yet looked up */
    uint8_t *letters; /* all words of the vocabulary, and PAD */
    Lexeme *lexemes;  /* the vocabulary as an open hash table: a word is its place there */
    u32 *letters_at;  /* of each place that has a word longer than its head */
    u32 slot_mask, classes;
    Use *uses;
    Jump *jumps; /* the moves as open hash tables, made when much is read */
    int64_t words_read;
    u32 *stamps, stamp;
    u32 first_action, first_mask;
    int languages_count;
    i32 widest_gap;
    Work spare; /* rows of the last text, to be used again */
};

/* Sixteen letters, and noughts beyond the length. */
static inline void head_of(const uint8_t *letters, i32 length, uint64_t out[2]) {
    static const uint8_t ones[2 * PAD] = {255, 255, 255, 255, 255, 255, 255, 255,
                                          255, 255, 255, 255, 255, 255, 255, 255};
    uint64_t mask[2];
    memcpy(out, letters, PAD);
    memcpy(mask, ones + PAD - (length < PAD ? length : PAD), PAD);
    out[0] &= mask[0];
    out[1] &= mask[1];
}

/* PAD bytes behind the letters are read. */
static inline u32 hash_of(const uint8_t *letters, i32 length) {
    uint64_t hash = (uint64_t)length, head[2];
    for (i32 i = 0; i < length; i += PAD) {
        head_of(letters + i, length - i, head);
        hash = (hash ^ head[0]) * 0x9E3779B97F4A7C15u;
        hash = (hash ^ head[1] ^ hash >> 32) * 0xD6E8FEB86659FD93u;
    }
    return (u32)(hash ^ hash >> 32);
}

static inline i32 least(i32 a, i32 b) { return a < b ? a : b; }
static inline i32 most(i32 a, i32 b) { return a > b ? a : b; }
static inline int is_word(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '~'; }
static inline u32 table(const Reader *r, int name, Py_ssize_t i) {
    return i >= 0 && i < r->sizes[name] ? r->tables[name][i] : 0;
}

/* _reading.c */
extern PyTypeObject *reader_type;
int add_reading(PyObject *module);
int begin_work(Work *w, Reader *r, PyObject *text); /* fold and read; -1: an exception, and nothing to end */
void end_work(Work *w);
i32 source_of(const Moves *moves, i32 position);
int next_token(const uint8_t *data, i32 *from, i32 to, Span *out);
PyObject *new_object(PyObject *type, Py_ssize_t size); /* with room for the items of a tuple, to be filled */
/* A tuple of a type with these items, which are taken over; NULL where one is none. */
PyObject *filled(PyObject *type, int count, ...);
int view_of(PyObject *rows, const char *name, Py_buffer *view); /* the buffer of what has a name */
PyObject *because_of(const Work *w, const Dropped *d);

/* _model.c */
typedef struct Model Model;
typedef struct { double chances[3], scores[3]; } Verdict; /* of BPO, KPO, NEITHER */
extern PyTypeObject *model_type;
int add_model(PyObject *module);
typedef struct { i32 row, start, end; double value, moved; } Weighty; /* a feature, and what it moves a score by */
/* How many there are, of so many at most; -1: no memory. top has room for one more. */
int weightiest(Model *model, const uint8_t *data, i32 length, int side, int most, Weighty *top);
const char *name_of(const Model *model, i32 row, Py_ssize_t *size);
int judge_folded(Model *model, const uint8_t *data, i32 length, Verdict *out); /* -1: no memory */
double surest(const Model *model);

/* _judging.c */
int add_judging(PyObject *module);

#endif
