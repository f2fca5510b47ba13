/* The matcher in C: what text.Folder.fold and matcher.Matcher.read do.

Each function names the one that it follows. One pass of integers over integers: words become numbers of the
vocabulary, terms are walks through the compiled index, and Python objects are made only of what is handed
back. Everything is linear in the length of the text. */

#include "_native.h"
#include <stdarg.h>

static const char *const TABLES[T_ALL] = {READER_TABLES(NAMED)};

/* bits of a folded byte */
enum { DOT = 1, COLON = 2, LINE = 4, COMMA = 8, BRACKET = 16 };
static const uint8_t signs_of[256] = {['.'] = DOT, [':'] = COLON, ['\n'] = LINE, [','] = COMMA, ['('] = BRACKET};

enum { MOST_SPARE = 1 << 19 }; /* code points of a text whose rows are kept for the next */

static int is_soft(uint8_t c) { return c == ' ' || c == '\n' || c == '-' || c == '/' || c == '\''; }
static u32 row_size(const Reader *r, int at, u32 i) { return table(r, at, (Py_ssize_t)i + 1) - table(r, at, i); }

static u32 word_by(const Reader *r, const uint8_t *letters, i32 length, u32 hash) {
    uint64_t head[2];
    head_of(letters, length, head);
    for (u32 slot = hash & r->slot_mask;; slot = (slot + 1) & r->slot_mask) {
        const Lexeme *lexeme = &r->lexemes[slot];
        if (!lexeme->length) return NONE;
        if (lexeme->length == length && !memcmp(lexeme->head, head, PAD) &&
            (length <= PAD || !memcmp(r->letters + r->letters_at[slot] + PAD, letters + PAD, (size_t)(length - PAD))))
            return slot;
    }
}

static u32 word_of(const Reader *r, const uint8_t *letters, i32 length) {
    return word_by(r, letters, length, hash_of(letters, length));
}

static u32 traits_of(const Reader *r, const uint8_t *letters, i32 length) {
    u32 word = word_of(r, letters, length);
    return word == NONE ? 0 : r->lexemes[word].traits;
}

static int known_token(const Reader *r, const uint8_t *letters, i32 length) {
    u32 word = word_of(r, letters, length);
    return word != NONE && r->lexemes[word].class_ != NONE;
}

static i32 find_byte(const uint8_t *data, i32 from, i32 to, uint8_t c) {
    if (from >= to) return -1;
    const uint8_t *at = memchr(data + from, c, (size_t)(to - from));
    return at ? (i32)(at - data) : -1;
}

static i32 rfind_byte(const uint8_t *data, i32 from, i32 to, uint8_t c) {
    for (i32 i = to - 1; i >= from; i--)
        if (data[i] == c) return i;
    return -1;
}

static i32 find_any(const uint8_t *data, i32 from, i32 to, int set) {
    for (i32 i = from; i < to; i++)
        if (signs_of[data[i]] & set) return i;
    return -1;
}

/* How many rows begin at or before a position. Rows are by place, and each one's first number is where it begins. */
static Py_ssize_t begun(const void *rows, Py_ssize_t size, size_t width, i32 position) {
    Py_ssize_t low = 0, high = size;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (position < *(const i32 *)((const char *)rows + (size_t)middle * width))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
#define BEGUN(rows, position) begun((rows)->at, (rows)->size, sizeof *(rows)->at, position)

/* zones.after_words */
static i32 after_words(const uint8_t *data, i32 position, int count, i32 stop) {
    for (int i = 0; i <= count; i++) {
        position = find_byte(data, position + 1, stop, ' ');
        if (position < 0) return stop;
    }
    return position;
}

/* The next token in [*from, to): its bounds. */
int next_token(const uint8_t *data, i32 *from, i32 to, Span *out) {
    i32 i = *from;
    while (i < to && !is_word(data[i])) i++;
    if (i >= to) return 0;
    out->start = i;
    while (i < to && is_word(data[i])) i++;
    out->end = *from = i;
    return 1;
}

/* ---- text.Folder.fold ---------------------------------------------------------------------------- */

/* Whether folding may have more to do where such a code point stands. */
static u32 with_event(u32 c, u32 code) {
    uint8_t folded = (uint8_t)code;
    int sign = folded && memchr(" \n&</('.\x81\x8d", folded, 10) != NULL;
    return sign || c == '?' || c == 0xBF || (uint8_t)(code >> 8) == 'U' ? code | EVENT : code;
}

static u32 code_of(Reader *r, u32 c) {
    if (r->codes[c]) return r->codes[c];
    PyObject *value = PyObject_CallFunction(r->look, "k", (unsigned long)c);
    if (!value) return 0;
    unsigned long code = PyLong_AsUnsignedLong(value);
    Py_DECREF(value);
    if (PyErr_Occurred()) return 0;
    return r->codes[c] = with_event(c, (u32)code);
}

enum { EDIT_SEAM, EDIT_DOT, EDIT_GAP, EDIT_END, EDIT_AND, EDIT_NOTHING, EDIT_SPELL, EDIT_SPACE };

/* A match of text._EDIT or of a second gender at i, or 0. */
static i32 edit_at(const Reader *r, const uint8_t *d, i32 n, i32 i, int *kind) {
    i32 j = i;
    switch (d[i]) {
    case ' ':
    case '\n':
        while (j < n && (d[j] == ' ' || d[j] == '\n')) j++;
        if (j - i >= 2 || d[i] == '\n') {
            *kind = memchr(d + i, '\n', (size_t)(j - i)) ? EDIT_GAP : EDIT_SPACE;
            return j;
        }
        if (j == n || d[j] != '&') return 0;
        break;
    case DROP:
        while (j < n && d[j] == DROP) j++;
        *kind = EDIT_NOTHING;
        return j;
    case EXPAND: *kind = EDIT_SPELL; return i + 1;
    case '&': {
        static const char *const names[] = {"nbsp.", "quot.", "lt.", "gt."};
        for (int k = 0; k < 4; k++) {
            i32 size = (i32)strlen(names[k]);
            if (n - i > size && !memcmp(d + i + 1, names[k], (size_t)size)) {
                *kind = EDIT_SPACE;
                return i + 1 + size;
            }
        }
        j = i + 1;
        if (j < n && d[j] == ',') j++;
        i32 digits = j;
        while (j < n && j - digits < 8 && ((d[j] >= '0' && d[j] <= '9') || d[j] == 'x')) j++;
        if (j - digits >= 2 && j - digits <= 7 && j < n && d[j] == '.') {
            *kind = EDIT_SPACE;
            return j + 1;
        }
        j = i;
        break;
    }
    case '<':
        j++;
        if (j < n && d[j] == '/') j++;
        if (j < n && d[j] >= 'a' && d[j] <= 'z') {
            i32 inner = ++j;
            while (j < n && j - inner < 80 && d[j] != '<' && d[j] != '>') j++;
            if (j < n && d[j] == '>') {
                *kind = memchr(d + i, '\n', (size_t)(j - i)) ? EDIT_GAP : EDIT_END;
                return j + 1;
            }
        }
        return 0;
    case '\'': {
        int before = i > 0 && is_word(d[i - 1]), after = i + 1 < n && is_word(d[i + 1]);
        *kind = EDIT_NOTHING;
        if (before && i + 1 < n && d[i + 1] == 's' && !(i + 2 < n && is_word(d[i + 2]))) return i + 2;
        return before && after ? 0 : i + 1;
    }
    case '/':
    case '(': {
        Span word;
        j = i + 1;
        if (j >= n || !is_word(d[j]) || !next_token(d, &j, least(n, i + 42), &word)) return 0;
        if (d[i] == '(' ? j == n || d[j] != ',' : j < n && is_word(d[j])) return 0;
        PyObject *ending = PyBytes_FromStringAndSize((const char *)d + word.start, word.end - word.start);
        int is_ending = ending ? PySet_Contains(r->endings, ending) : -1;
        Py_XDECREF(ending);
        if (is_ending <= 0) return is_ending;
        *kind = EDIT_NOTHING;
        return j + (d[i] == '(');
    }
    default: return 0;
    }
    /* " ?&(amp.)? ?" */
    j++;
    if (n - j >= 4 && !memcmp(d + j, "amp.", 4)) j += 4;
    if (j < n && d[j] == ' ') j++;
    *kind = EDIT_AND;
    return j;
}

/* text._glued: whether two words meet before this capital */
static int is_seam(const Reader *r, const uint8_t *d, const uint8_t *shape, i32 n, i32 at) {
    Span token;
    i32 start = at, from;
    if (at < 2 || at + 2 >= n || shape[at - 1] != 'l' || shape[at - 2] != 'l' || shape[at + 1] != 'l' ||
        shape[at + 2] != 'l')
        return 0;
    while (start && at - start < 40 && is_word(d[start - 1])) start--;
    from = start;
    return !is_word(d[start]) || !next_token(d, &from, least(n, at + 40), &token) ||
           !known_token(r, d + token.start, token.end - token.start);
}

/* text._abbreviated: the end of an abbreviation's dot, or 0 */
static i32 abbreviated(const uint8_t *d, const uint8_t *shape, i32 n, i32 dot) {
    i32 start = dot, end = dot + 1 < n && d[dot + 1] == ' ' ? dot + 2 : dot + 1;
    if (end >= n || shape[end] != 'l') return 0;
    while (start && dot - start < 9 && is_word(d[start - 1])) start--;
    return dot - start >= 3 && dot - start <= 8 && shape[start] == 'U' ? end : 0;
}

/* Seams of glued words, dots of abbreviations and all else, by place. events: where they may be. */
static int edits_of(const Reader *r, const uint8_t *d, const uint8_t *shape, i32 n, const i32 *events, i32 count,
                    Edits *edits) {
    i32 reached = 0;
    for (i32 k = 0; k < count; k++) {
        i32 i = events[k], end;
        int kind;
        if (shape[i] == 'U') {
            if (is_seam(r, d, shape, n, i)) ADD(Edit, edits, i, i, EDIT_SEAM);
        } else if (d[i] == '.') {
            if ((end = abbreviated(d, shape, n, i))) ADD(Edit, edits, i, end, EDIT_DOT);
        } else if (i >= reached) {
            if (d[i] == ' ' && i + 1 < n && d[i + 1] != ' ' && d[i + 1] != '\n' && d[i + 1] != '&') continue;
            if ((end = edit_at(r, d, n, i, &kind)) < 0) return -1;
            if (!end) continue;
            ADD(Edit, edits, i, end, kind);
            reached = end;
        }
    }
    return 0;
}

/* "l.l", and text._inner_signs */
static void mend_signs(const u32 *text, uint8_t *d, const uint8_t *shape, i32 n, const i32 *events, i32 count) {
    i32 reached = 0;
    for (i32 k = 0; k < count; k++) {
        i32 i = events[k];
        if (d[i] == ' ' || i < 1 || i + 1 >= n) continue;
        if (d[i] == '.' && d[i - 1] == 'l' && d[i + 1] == 'l' && i - 1 >= reached) {
            d[i] = '-';
            reached = i + 2;
        }
        if ((text[i] == '?' || text[i] == 0xBF) && shape[i - 1] == 'l' && shape[i + 1] == 'l')
            d[i] = '\'';
        else if (d[i] == '.' && shape[i - 1] == 'U' && shape[i + 1] == 'U')
            d[i] = '-';
    }
}

/* text._gap */
static uint8_t gap_of(const Reader *r, const u32 *text, i32 n, i32 start, i32 end) {
    i32 lines = 0, returns = 0;
    for (i32 i = start; i < end; i++) {
        lines += text[i] == '\n';
        returns += text[i] == '\r';
    }
    return (lines ? lines : returns) < 2 && end < n && r->codes[text[end]] & LOWER ? '\n' : '.';
}

/* Into w->data, length and moves. */
static int fold(Work *w, const u32 *text, i32 n) {
    Reader *r = w->reader;
    Moves *moves = &w->moves;
    uint8_t *d = room_for(&w->scratch[S_RAW], (size_t)n + PAD), *shape = room_for(&w->scratch[S_A], (size_t)n + 1),
            *out;
    i32 *events = room_for(&w->scratch[S_B], ((size_t)n + 1) * sizeof(i32)), count = 0;
    if (!d || !shape || !events) return -1;
    for (i32 i = 0; i < n; i++) {
        u32 code = r->codes[text[i]];
        if (!code && !(code = code_of(r, text[i]))) return -1;
        d[i] = (uint8_t)code;
        shape[i] = (uint8_t)(code >> 8);
        events[count] = i;
        count += code / EVENT & 1;
    }
    memset(d + n, 0, PAD);
    mend_signs(text, d, shape, n, events, count);
    w->edits.size = 0;
    if (edits_of(r, d, shape, n, events, count, &w->edits) < 0) return -1;
    w->data = d;
    w->length = n;
    if (!w->edits.size) return 0;
    Py_ssize_t room = (Py_ssize_t)n + PAD;
    for (Py_ssize_t i = 0; i < w->edits.size; i++) room += w->edits.at[i].kind == EDIT_SPELL ? 32 : 5;
    out = room > INT32_MAX ? NULL : room_for(&w->scratch[S_FOLDED], (size_t)room);
    if (!out) return -1;
    i32 last = 0, size = 0;
    for (Py_ssize_t i = 0; i < w->edits.size; i++) {
        const Edit *e = &w->edits.at[i];
        if (e->start < last) continue;
        memcpy(out + size, d + last, (size_t)(e->start - last));
        size += e->start - last;
        switch (e->kind) {
        case EDIT_SEAM:
        case EDIT_END: out[size++] = '.'; break;
        case EDIT_DOT:
        case EDIT_SPACE: out[size++] = ' '; break;
        case EDIT_GAP: out[size++] = gap_of(r, text, n, e->start, e->end); break;
        case EDIT_AND:
            memcpy(out + size, " and ", 5);
            size += 5;
            break;
        case EDIT_SPELL: {
            PyObject *letters = PyObject_CallFunction(r->spell, "k", (unsigned long)text[e->start]);
            char *spelt;
            Py_ssize_t letter_count;
            if (!letters || PyBytes_AsStringAndSize(letters, &spelt, &letter_count) < 0 || letter_count > 32) {
                Py_XDECREF(letters);
                if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a code point of too many letters");
                return -1;
            }
            memcpy(out + size, spelt, (size_t)letter_count);
            size += (i32)letter_count;
            Py_DECREF(letters);
            break;
        }
        }
        last = e->end;
        ADD(Move, moves, size, last - size);
    }
    memcpy(out + size, d + last, (size_t)(n - last));
    w->data = out;
    w->length = size + n - last;
    memset(out + w->length, 0, PAD);
    return 0;
}

/* text.Folded.source */
i32 source_of(const Moves *moves, i32 position) {
    Py_ssize_t low = BEGUN(moves, position);
    i32 here = low ? position + moves->at[low - 1].shift : position;
    return low == moves->size ? here : least(here, moves->at[low].at + moves->at[low].shift);
}

/* ---- matcher.occurrences --------------------------------------------------------------------------- */

enum { AHEAD = 12 }; /* words whose places are on their way from memory */

static void look_up(const Work *w, Word *word) {
    const Reader *r = w->reader;
    word->word = word_by(r, w->data + word->start, word->end - word->start, word->word);
    if (word->word != NONE && r->jumps) FETCH(&r->jumps[r->lexemes[word->word].start]);
}

static int tokenise(Work *w) {
    const Reader *r = w->reader;
    Span token;
    for (i32 from = 0; next_token(w->data, &from, w->length, &token);) {
        u32 hash = hash_of(w->data + token.start, token.end - token.start);
        FETCH(&r->lexemes[hash & r->slot_mask]);
        ADD(Word, &w->words, token.start, token.end, hash);
        if (w->words.size > AHEAD) look_up(w, &w->words.at[w->words.size - 1 - AHEAD]);
    }
    for (Py_ssize_t i = w->words.size > AHEAD ? w->words.size - AHEAD : 0; i < w->words.size; i++)
        look_up(w, &w->words.at[i]);
    return 0;
}

/* Where a walk stands is 1 + the state, or, once there are jumps, the place of the state's first one. The jumps of a
state are a hash table of their own, so that those of common words lie together. */

enum { ENOUGH_WORDS = 1 << 14 }; /* read before jumps pay */

static u32 jump_place(u32 class_) { return class_ * 0x9E3779B1u >> 7; }

static void make_jumps(Reader *r) {
    u32 states = (u32)r->sizes[T_STATE_USE], size = 1; /* no walk stands at 0 */
    u32 *at = malloc(((size_t)states + 1) * sizeof(u32));
    r->words_read = INT64_MIN; /* not tried again */
    for (u32 state = 0; at && state < states; state++) {
        u32 room = 1;
        while (3 * room < 4 * row_size(r, T_MOVES_AT, state)) room *= 2;
        at[state] = size;
        size += 1 + room;
    }
    Jump *jumps = at ? calloc(size, sizeof(Jump)) : NULL;
    for (u32 state = 0; jumps && state < states; state++) {
        u32 mask = (state + 1 < states ? at[state + 1] : size) - at[state] - 2;
        Jump *row = &jumps[at[state]];
        row[0] = (Jump){mask, table(r, T_STATE_USE, state)};
        for (u32 i = table(r, T_MOVES_AT, state); i < table(r, T_MOVES_AT, (Py_ssize_t)state + 1); i++) {
            u32 class_ = table(r, T_MOVE_CLASSES, i), place = jump_place(class_);
            while (row[1 + (place & mask)].to) place++;
            row[1 + (place & mask)] = (Jump){class_, at[table(r, T_MOVE_STATES, i)]};
        }
    }
    for (u32 word = 0; jumps && word <= r->slot_mask; word++)
        if (r->lexemes[word].start) r->lexemes[word].start = at[r->lexemes[word].start - 1];
    free(at);
    r->jumps = jumps;
}

static u32 use_at(const Reader *r, u32 here) {
    return r->jumps ? r->jumps[here].to : r->tables[T_STATE_USE][here - 1];
}

static u32 move(const Reader *r, u32 here, u32 class_) {
    if (r->jumps) {
        const Jump *row = &r->jumps[here];
        for (u32 place = jump_place(class_);; place++) {
            const Jump *jump = &row[1 + (place & row->class_)];
            if (!jump->to || jump->class_ == class_) return jump->to;
        }
    }
    u32 low = table(r, T_MOVES_AT, here - 1), high = table(r, T_MOVES_AT, here);
    while (low < high) {
        u32 middle = (low + high) / 2, there = table(r, T_MOVE_CLASSES, middle);
        if (there == class_) return table(r, T_MOVE_STATES, middle) + 1;
        if (there < class_)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static int occurrences(Work *w) {
    Reader *r = w->reader;
    const Word *words = w->words.at;
    r->words_read += w->words.size;
    if (r->words_read > ENOUGH_WORDS) make_jumps(r);
    for (Py_ssize_t i = 0; i < w->words.size; i++) {
        u32 here = words[i].word == NONE ? 0 : r->lexemes[words[i].word].start;
        for (Py_ssize_t j = i; here;) {
            u32 use = use_at(r, here);
            if (use) ADD(Found, &w->found, words[i].start, words[j].end, use - 1);
            if (++j == w->words.size || words[j].start != words[j - 1].end + 1 || words[j].word == NONE ||
                !is_soft(w->data[words[j - 1].end]))
                break;
            u32 class_ = r->lexemes[words[j].word].class_;
            here = class_ == NONE ? 0 : move(r, here, class_);
        }
    }
    return 0;
}

/* ---- Matcher._candidates --------------------------------------------------------------------------- */

static int in_verb_set(const Reader *r, u32 use, u32 action) {
    u32 low = r->uses[use].verbs, high = low + r->uses[use].verb_count;
    while (low < high) {
        u32 middle = (low + high) / 2, there = table(r, T_VERB_SETS, middle);
        if (there == action) return 1;
        if (there < action)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static int join(Work *w, u32 action, const Found *first, const Found *second) {
    ADD(Candidate, &w->candidates, first->start, most(first->end, second->end), w->reader->first_action + action,
        first->end - first->start + second->end - second->start, 2,
        {{first->start, first->end}, {second->start, second->end}});
    return 0;
}

/* Matcher._active */
static int active(Work *w, const Found *target) {
    const Reader *r = w->reader;
    const u32 *objects = r->tables[T_OBJECTS] + r->uses[target->use].objects;
    u32 count = r->uses[target->use].object_count, left = count;
    Numbers met = {0}; /* for each of the object's actions: whether its verb was met */
    for (u32 k = 0; k < count; k++) {
        i32 *new_ = Numbers_add(&met);
        if (!new_) return -1;
        *new_ = 0;
    }
    int result = 0;
    for (Py_ssize_t i = w->verbs.size - 1; i >= 0 && left && !result; i--) {
        const Found *verb = &w->verbs.at[i];
        if (verb->end > target->start) continue;
        if (target->start - verb->end > FAR) break;
        i32 gap = -1, full = 0;
        for (i32 k = verb->end; k < target->start; k++) {
            gap += w->data[k] == ' ' || w->data[k] == '\n';
            full |= w->data[k] == '.';
        }
        if (gap > r->widest_gap || full) break;
        for (u32 k = 0; k < count; k++)
            if (!met.at[k] && in_verb_set(r, verb->use, objects[k])) {
                met.at[k] = 1;
                left--;
                if (gap <= (i32)table(r, T_GAPS, objects[k]) && join(w, objects[k], verb, target) < 0) result = -1;
            }
    }
    free(met.at);
    return result;
}

/* Matcher._passive */
static int passive(Work *w, const Found *verb) {
    const Reader *r = w->reader;
    for (Py_ssize_t i = w->objects.size - 1; i >= 0; i--) {
        const Found *target = &w->objects.at[i];
        if (target->end > verb->start) continue;
        if (verb->start - target->end > 16) break;
        int spaces = 0, hard = 0;
        for (i32 k = target->end; k < verb->start; k++) {
            uint8_t c = w->data[k];
            spaces += c == ' ';
            hard |= c == '.' || c == ',' || c == ':';
        }
        if (spaces > 2) break;
        if (hard) continue;
        const u32 *objects = r->tables[T_OBJECTS] + r->uses[target->use].objects;
        for (u32 k = 0; k < r->uses[target->use].object_count; k++)
            if (in_verb_set(r, verb->use, objects[k]) && join(w, objects[k], target, verb) < 0) return -1;
    }
    return 0;
}

static int term(Work *w, const Found *f, u32 entry) {
    ADD(Candidate, &w->candidates, f->start, f->end, entry, f->end - f->start, 1, {{f->start, f->end}});
    return 0;
}

static int candidates(Work *w) {
    const Reader *r = w->reader;
    for (Py_ssize_t i = 0; i < w->found.size; i++) {
        const Found f = w->found.at[i];
        const Use *use = &r->uses[f.use];
        for (u32 k = 0; k < use->rule_count; k++)
            if (term(w, &f, r->tables[T_RULES][use->rules + k]) < 0) return -1;
        for (u32 k = 0; k < use->mask_count; k++)
            if (term(w, &f, r->first_mask + r->tables[T_MASKS][use->masks + k]) < 0) return -1;
        if (use->verb_count) {
            if (passive(w, &f) < 0) return -1;
            ADD(Found, &w->verbs, f.start, f.end, f.use);
        }
        if (use->object_count) {
            if (active(w, &f) < 0) return -1;
            ADD(Found, &w->objects, f.start, f.end, f.use);
        }
    }
    return 0;
}

/* Matcher._winning_cues */
static int winning_cues(Work *w) {
    const Reader *r = w->reader;
    Cues *out = &w->cues;
    for (Py_ssize_t i = 0; i < w->found.size; i++) {
        const Found *f = &w->found.at[i];
        u32 count = r->uses[f->use].cue_count;
        if (!count) continue;
#define LAST (out->at[out->size - 1])
        while (out->size && f->start < LAST.end && f->end - f->start > LAST.end - LAST.start) out->size--;
        if (!out->size || f->start >= LAST.end || (f->start == LAST.start && f->end == LAST.end))
            for (u32 k = 0; k < count; k++)
                ADD(Cue, out, f->start, f->end, r->tables[T_CUES][r->uses[f->use].cues + k]);
#undef LAST
    }
    return 0;
}

/* ---- zones.Zones -------------------------------------------------------------------------------------- */

static u32 named(const Work *w, int zone) { return w->reader->tables[T_NAMED_ZONES][zone]; }

static i32 count_tokens(const uint8_t *data, i32 from, i32 to) {
    Span token;
    i32 count = 0;
    while (next_token(data, &from, to, &token)) count++;
    return count;
}

/* Whether what stands here is the code of a lot or file and no title. */
static int is_code(const uint8_t *data, i32 from, i32 to) {
    Span token;
    i32 count = 0;
    while (next_token(data, &from, to, &token)) {
        int digits = 0;
        for (i32 i = token.start; i < token.end; i++) digits |= data[i] >= '0' && data[i] <= '9';
        if (++count >= 3 || (token.end - token.start >= 3 && !digits)) return 0;
    }
    return 1;
}

/* zones._title_end */
static i32 title_end(const uint8_t *data, i32 n) {
    i32 position = 0, end = 0, found = -1;
    for (int i = 0; i < 5; i++) {
        found = find_any(data, position, least(n, position + TITLE_BYTES), DOT | COLON | LINE);
        end = found >= 0 ? found : least(n, position + TITLE_BYTES);
        int brief = count_tokens(data, position, end) < 2 && end - position < 6;
        if (found < 0 || !(is_code(data, position, end) || brief) || end + 1 >= n) break;
        position = end + 1;
    }
    if (found < 0 && n > TITLE_BYTES) end = TITLE_BYTES;
    if (count_tokens(data, position, end) <= TITLE_WORDS && (found >= 0 || end == n)) return end;
    if (n <= 2 * TITLE_BYTES) {
        i32 comma = find_any(data, 12, end, COMMA | BRACKET);
        return comma >= 0 ? comma : after_words(data, 0, 12, end);
    }
    return 0;
}

/* Zones._is_heading */
static int is_heading(const Work *w, i32 start, i32 end, int strict) {
    const uint8_t *d = w->data;
    i32 before = start, floor = most(0, start - 3);
    while (before > floor && (d[before - 1] == ' ' || d[before - 1] == '-' || d[before - 1] == '/')) before--;
    if (before > floor && !(signs_of[d[before - 1]] & (DOT | COLON | LINE | COMMA | BRACKET))) return 0;
    i32 after = end, roof = least(w->length, end + 3);
    while (after < roof && d[after] == ' ') after++;
    if (after == roof || d[after] == '-' || signs_of[d[after]] & (DOT | COLON | LINE)) return 1;
    if (strict) return 0;
    i32 first = source_of(&w->moves, start), following = source_of(&w->moves, end);
    i32 stop = least(w->source_length, following + 3);
    while (following < stop && w->reader->codes[w->source[following]] & SPACE) following++;
    return first < w->source_length && w->reader->codes[w->source[first]] & UPPER && following < stop &&
           w->reader->codes[w->source[following]] & UPPER;
}

static int begin_zone(Work *w, i32 start, u32 zone) {
    i32 *at = Numbers_add(&w->starts), *is = Numbers_add(&w->start_zones);
    if (!at || !is) return -1;
    *at = start;
    *is = (i32)zone;
    return 0;
}

static int by_span(const void *a, const void *b) {
    const Stretch *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return (x->zone > y->zone) - (x->zone < y->zone);
}

static int by_four(const void *a, const void *b) {
    const i32 *x = a, *y = b;
    for (int i = 0; i < 4; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Heads.edges of the tokens in a stretch; whether there are any, and whether all are ranks */
static int edges(const Work *w, i32 from, i32 to, Span *out, int *ranks) {
    const Reader *r = w->reader;
    Span token, first = {0, 0}, last = {0, 0}, before[64];
    i32 count = 0;
    int chosen = 0, ended = 0;
    *ranks = 1;
    while (next_token(w->data, &from, to, &token)) {
        u32 traits = traits_of(r, w->data + token.start, token.end - token.start);
        *ranks &= (traits & (RANK | SKIP)) != 0;
        if (ended) continue;
        if (!chosen) { /* the first that is neither skipped nor has a digit, or else the last */
            int digits = 0;
            for (i32 i = token.start; i < token.end; i++) digits |= w->data[i] >= '0' && w->data[i] <= '9';
            first = token;
            chosen = !digits && !(traits & SKIP);
            count = 0;
        } else if (traits & STOP) {
            ended = 1;
            continue;
        }
        before[count++ & 63] = token;
        last = token;
    }
    for (i32 back = count - 1; back > 0 && count - back < 63; back--) { /* single letters and tails at the end */
        last = before[back & 63];
        if (last.end - last.start != 1 && !(traits_of(r, w->data + last.start, last.end - last.start) & TAIL)) break;
        last = before[(back - 1) & 63];
    }
    if (count) *out = (Span){first.start, last.end};
    return count > 0;
}

/* One phrase of Zones._cut */
static int phrase(Work *w, i32 since, i32 to) {
    Span head = {0, 0};
    int any = 0, ranks;
    for (i32 at = since;;) {
        i32 comma = find_any(w->data, at + 1, to, COMMA | BRACKET);
        if (!edges(w, at, comma >= 0 ? comma : to, &head, &ranks)) break;
        any = 1;
        if (comma < 0 || !ranks) break;
        at = comma + 1;
    }
    if (any) ADD(Phrase, &w->phrases, since, to, head.start, head.end);
    return 0;
}

/* Zones._cut */
static int cut(Work *w, i32 start, i32 end) {
    const uint8_t *d = w->data;
    i32 since = start;
    for (i32 i = start; i < end;) {
        i32 size = d[i] == '.' || d[i] == ':' || d[i] == '/' || d[i] == '\n'                               ? 1
                   : i + 1 < end && ((d[i] == ' ' && d[i + 1] == '-') || (d[i] == '-' && d[i + 1] == ' ')) ? 2
                                                                                                           : 0;
        if (!size) {
            i++;
            continue;
        }
        if (phrase(w, since, i) < 0) return -1;
        since = i += size;
    }
    return phrase(w, since, end);
}

static int zones(Work *w) {
    const Reader *r = w->reader;
    const uint8_t *d = w->data;
    i32 n = w->length;
    w->title_end = title_end(d, n);
    if (begin_zone(w, 0, named(w, w->title_end ? Z_TITLE : Z_BODY)) < 0) return -1;
    if (w->title_end && w->title_end < n && begin_zone(w, w->title_end, named(w, Z_BODY)) < 0) return -1;
    Py_ssize_t untitled = w->starts.size;
    i32 sought = -1;
    Stretchs next = {0};
    for (Py_ssize_t i = 0; i < w->cues.size; i++) {
        const Cue *c = &w->cues.at[i];
        if (table(r, T_CUE_EFFECT, c->cue) != EFFECT_ZONE) continue;
        u32 zone = table(r, T_CUE_ZONE, c->cue), scope = table(r, T_CUE_SCOPE, c->cue);
        if (scope == SCOPE_SECTION) {
            int strict = c->start < w->title_end && zone != named(w, Z_DUTIES);
            if (!strict && c->start < w->title_end && w->title_end <= c->end + 1 &&
                is_heading(w, c->start, c->end, 0)) {
                w->title_end = 0;
                w->starts.size = w->start_zones.size = 0;
                if (begin_zone(w, 0, zone) < 0) goto no_memory;
            } else if (c->start >= w->starts.at[w->starts.size - 1] && is_heading(w, c->start, c->end, strict)) {
                if (begin_zone(w, c->start, zone) < 0) goto no_memory;
            }
        } else if (scope == SCOPE_SENTENCE) {
            if (c->start >= w->title_end) { /* zones._sentence */
                i32 floor = most(0, c->start - SENTENCE), roof = least(n, c->end + SENTENCE);
                i32 since = most(rfind_byte(d, floor, c->start, '.'), rfind_byte(d, floor, c->start, ':')) + 1;
                i32 to = find_byte(d, c->end, roof, '.');
                Stretch *new_ = Stretchs_add(&w->spans);
                if (!new_) goto no_memory;
                *new_ = (Stretch){most(most(since, floor), w->title_end), to >= 0 ? to : roof, zone};
            }
        } else { /* zones._phrase_end */
            i32 limit = least(n, c->end + PHRASE_BYTES),
                found = find_any(d, c->end + 1, limit, DOT | COMMA | COLON | BRACKET | LINE);
            Stretch *new_ = Stretchs_add(&next);
            if (!new_) goto no_memory;
            *new_ = (Stretch){c->end, after_words(d, c->end, PHRASE_WORDS, found >= 0 ? found : limit), zone};
            if (sought < 0) sought = c->end;
        }
    }
    for (Py_ssize_t i = 0; i < next.size; i++) {
        Stretch *new_ = Stretchs_add(&w->spans);
        if (!new_) goto no_memory;
        *new_ = next.at[i];
    }
    free(next.at);
    /* Zones._tell_employer */
    if (sought >= 0 && BEGUN(&w->starts, sought) <= untitled && sought > w->title_end + SENTENCE / 2) {
        i32 before = most(rfind_byte(d, 0, sought, '.'), w->title_end);
        Stretch *new_ = Stretchs_add(&w->spans);
        if (!new_) return -1;
        *new_ = (Stretch){w->title_end, before, named(w, Z_EMPLOYER)};
    }
    if (w->spans.size) qsort(w->spans.at, (size_t)w->spans.size, sizeof(Stretch), by_span);
    if (w->title_end && cut(w, 0, w->title_end) < 0) return -1;
    for (Py_ssize_t i = 0; i < w->spans.size; i++)
        if (w->spans.at[i].zone == named(w, Z_TITLE) && cut(w, w->spans.at[i].start, w->spans.at[i].end) < 0)
            return -1;
    if (w->phrases.size) qsort(w->phrases.at, (size_t)w->phrases.size, sizeof(Phrase), by_four);
    return 0;
no_memory:
    free(next.at);
    return -1;
}

/* Zones.at */
static u32 zone_at(const Work *w, i32 position) {
    Py_ssize_t low = BEGUN(&w->spans, position);
    for (Py_ssize_t i = low - 1; i >= 0 && i >= low - 4; i--)
        if (position < w->spans.at[i].end) return w->spans.at[i].zone;
    return (u32)w->start_zones.at[BEGUN(&w->starts, position) - 1];
}

/* Zones.phrase */
static const Phrase *phrase_at(const Work *w, i32 position) {
    Py_ssize_t low = BEGUN(&w->phrases, position);
    for (Py_ssize_t i = low - 1; i >= 0 && i >= low - 3; i--)
        if (position < w->phrases.at[i].end) return &w->phrases.at[i];
    return NULL;
}

/* Zones.heads */
static int heads(const Work *w, const Phrase *p, i32 start, i32 end, u32 entry) {
    u32 language = table(w->reader, T_ENTRY_LANGUAGE, entry);
    return table(w->reader, T_LANGUAGE_HEAD_LAST, language) ? end == p->last : start == p->first;
}

/* Zones.is_post */
static int is_post(const Work *w, i32 start) {
    const Phrase *p = phrase_at(w, start);
    if (!p) return 0;
    Span token;
    for (i32 from = p->first; next_token(w->data, &from, start, &token);)
        if (traits_of(w->reader, w->data + token.start, token.end - token.start) & BREAK) return 0;
    return 1;
}

/* Zones.joined */
static int joined(const Work *w, const Phrase *p, i32 start, i32 end) {
    const uint8_t *d = w->data;
    Span token;
    i32 from = end + 1;
    if (from < p->end && is_word(d[from]) && next_token(d, &from, p->end, &token) &&
        traits_of(w->reader, d + token.start, token.end - token.start) & JOIN)
        return 1;
    i32 floor = most(p->start, start - BEFORE_HEAD), to = start;
#define SPACED(c) ((c) == ' ' || (c) == '\n')
    while (to > floor && SPACED(d[to - 1])) to--;
    while (to > floor) {
        if (d[to - 1] == ',' || d[to - 1] == '+') return 1;
        i32 since = to;
        while (since > floor && !SPACED(d[since - 1])) since--;
        u32 traits = traits_of(w->reader, d + since, to - since);
        if (traits & JOIN) return 1;
        if (!(traits & SKIP)) return 0;
        to = since;
        while (to > floor && SPACED(d[to - 1])) to--;
    }
#undef SPACED
    return 0;
}

/* Zones.told */
static i32 told(const Work *w) {
    const Reader *r = w->reader;
    i32 covered = 0, reached = 0;
    Py_ssize_t i = 0, k = 0;
    while (i < w->starts.size || k < w->spans.size) { /* both by place */
        i32 start, end;
        u32 zone;
        int section = k == w->spans.size || (i < w->starts.size && w->starts.at[i] <= w->spans.at[k].start);
        if (section) {
            start = w->starts.at[i];
            zone = (u32)w->start_zones.at[i];
            end = ++i < w->starts.size ? w->starts.at[i] : w->length;
        } else {
            start = w->spans.at[k].start;
            end = w->spans.at[k].end;
            zone = w->spans.at[k++].zone;
        }
        if (!(table(r, T_ZONE_TRAITS, zone) & UNTOLD)) continue;
        covered += most(0, end - most(start, reached));
        reached = most(reached, end);
    }
    return w->length - covered;
}

/* ---- matcher._Excluded ------------------------------------------------------------------------------- */

static int exclude(Work *w) {
    const Reader *r = w->reader;
    const uint8_t *d = w->data;
    Numbers stops = {0};
    int negated = 0;
    for (Py_ssize_t i = 0; i < w->cues.size; i++) {
        u32 effect = table(r, T_CUE_EFFECT, w->cues.at[i].cue);
        negated |= effect == EFFECT_NEGATE;
        if (effect != EFFECT_STOP) continue;
        i32 *new_ = Numbers_add(&stops);
        if (!new_) goto no_memory;
        *new_ = w->cues.at[i].start;
    }
    for (Py_ssize_t i = 0; negated && i < w->cues.size; i++) {
        const Cue *c = &w->cues.at[i];
        if (table(r, T_CUE_EFFECT, c->cue) != EFFECT_NEGATE) continue;
        Excluded *new_ = Excludeds_add(&w->excluded);
        if (!new_) goto no_memory;
        if (table(r, T_CUE_SCOPE, c->cue) == SCOPE_AFTER) {
            i32 roof = least(w->length, c->end + REACH), to = find_byte(d, c->end, roof, '.');
            to = after_words(d, c->end, NEGATED_WORDS, to >= 0 ? to : roof);
            Py_ssize_t stop = BEGUN(&stops, c->end - 1);
            *new_ = (Excluded){c->end, stop < stops.size ? least(to, stops.at[stop]) : to, c->start, c->end};
        } else {
            i32 since = most(rfind_byte(d, most(0, c->start - REACH), c->start, '.') + 1, most(0, c->start - REACH));
            Py_ssize_t stop = BEGUN(&stops, c->start) - 1;
            *new_ = (Excluded){stop >= 0 ? most(since, stops.at[stop]) : since, c->start, c->start, c->end};
        }
    }
    free(stops.at);
    if (w->excluded.size) qsort(w->excluded.at, (size_t)w->excluded.size, sizeof(Excluded), by_four);
    return 0;
no_memory:
    free(stops.at);
    return -1;
}

static const Excluded *excluded_by(const Work *w, i32 position) {
    Py_ssize_t low = BEGUN(&w->excluded, position);
    for (Py_ssize_t i = low - 1; i >= 0 && i >= low - 4; i--)
        if (position < w->excluded.at[i].to) return &w->excluded.at[i];
    return NULL;
}

/* ---- who counts ---------------------------------------------------------------------------------------- */

static int drop(Work *w, const Candidate *c, int why, i32 by, i32 because) {
    i32 order = (i32)w->dropped.size;
    ADD(Dropped, &w->dropped, c->start, c->end, c->entry, zone_at(w, c->start), why, by, because, order);
    return 0;
}

/* Matcher._foreign: bits of the languages that do not count; *spoken is the text's */
static u32 foreign(Work *w, i32 *spoken) {
    Reader *r = w->reader;
    u32 doubtful = 0, out = 0;
    for (Py_ssize_t i = 0; i < w->candidates.size; i++) {
        u32 language = table(r, T_ENTRY_LANGUAGE, w->candidates.at[i].entry);
        if (!table(r, T_LANGUAGE_FOREIGN, language)) doubtful |= 1u << language;
    }
    if (!doubtful) return 0;
    i32 marks[MOST_LANGUAGES] = {0};
    if (++r->stamp == 0) {
        memset(r->stamps, 0, ((size_t)r->slot_mask + 1) * sizeof(u32));
        r->stamp = 1;
    }
    for (Py_ssize_t i = 0; i < w->words.size; i++) {
        u32 word = w->words.at[i].word;
        u32 bits = word == NONE ? 0 : r->lexemes[word].marks;
        if (!bits || r->stamps[word] == r->stamp) continue;
        r->stamps[word] = r->stamp;
        for (int k = 0; bits; k++, bits >>= 1) marks[k] += bits & 1;
    }
    *spoken = 0;
    for (int k = 1; k < r->languages_count; k++)
        if (marks[k] > marks[*spoken]) *spoken = k;
    if (marks[*spoken] < least(CLEAR_MARKS, 1 + (i32)(w->words.size / 16))) return 0;
    for (int k = 0; k < r->languages_count; k++)
        if (doubtful >> k & 1 && k != *spoken && marks[k] * 3 <= marks[*spoken] - 1) out |= 1u << k;
    return out;
}

/* Matcher._qualified */
static int qualify(Work *w) {
    const Reader *r = w->reader;
    i32 spoken = 0;
    u32 silent = foreign(w, &spoken);
    Py_ssize_t left = 0;
    for (Py_ssize_t i = 0; i < w->candidates.size; i++) {
        const Candidate *c = &w->candidates.at[i];
        u32 traits = table(r, T_ENTRY_TRAITS, c->entry);
        if (silent >> table(r, T_ENTRY_LANGUAGE, c->entry) & 1) {
            if (!(traits & MASK) && drop(w, c, WHY_FOREIGN, spoken, 0) < 0) return -1;
            continue;
        }
        if (traits & HEAD) {
            const Phrase *p = phrase_at(w, c->start);
            if (!p || !heads(w, p, c->start, c->end, c->entry)) {
                if (drop(w, c, WHY_NOT_HEAD, 0, 0) < 0) return -1;
                continue;
            }
        }
        w->candidates.at[left++] = *c;
    }
    w->candidates.size = left;
    return 0;
}

typedef struct { i32 length, mask, start, votes, rank, language, order, index; } Claim;

static int by_claim(const void *a, const void *b) {
    const Claim *x = a, *y = b;
    if (x->length != y->length) return x->length > y->length ? -1 : 1;
    if (x->mask != y->mask) return x->mask > y->mask ? -1 : 1;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->votes != y->votes) return x->votes > y->votes ? -1 : 1;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->language != y->language) return x->language < y->language ? -1 : 1;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* matcher._longest */
static int longest(Work *w) {
    const Reader *r = w->reader;
    i32 votes[MOST_LANGUAGES] = {0};
    Py_ssize_t count = w->candidates.size;
    if (!count) return 0;
    Claim *claims = room_for(&w->scratch[S_A], (size_t)count * sizeof(Claim));
    uint8_t *taken = room_for(&w->scratch[S_B], (size_t)w->length + 1);
    if (!claims || !taken) return -1;
    memset(taken, 0, (size_t)w->length + 1);
    for (Py_ssize_t i = 0; i < count; i++) votes[table(r, T_ENTRY_LANGUAGE, w->candidates.at[i].entry)]++;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Candidate *c = &w->candidates.at[i];
        u32 language = table(r, T_ENTRY_LANGUAGE, c->entry);
        claims[i] = (Claim){c->length,
                            (i32)(table(r, T_ENTRY_TRAITS, c->entry) & MASK),
                            c->start,
                            votes[language],
                            (i32)table(r, T_ENTRY_RANK, c->entry),
                            (i32)language,
                            (i32)table(r, T_ENTRY_ORDER, c->entry),
                            (i32)i};
    }
    qsort(claims, (size_t)count, sizeof(Claim), by_claim);
    for (Py_ssize_t i = 0; i < count; i++) {
        const Candidate *c = &w->candidates.at[claims[i].index];
        u32 traits = table(r, T_ENTRY_TRAITS, c->entry);
        uint8_t bars = traits & OUTSIDE ? 1 : 3, mark = traits & MASK ? 2 : 1, met = 0;
        for (i32 k = 0; k < c->count; k++)
            for (i32 at = c->parts[k].start; at < c->parts[k].end; at++) met |= taken[at];
        Candidate *new_ = Candidates_add(met & bars ? &w->lost : &w->kept);
        if (!new_) return -1;
        *new_ = *c;
        if (met & bars) continue;
        for (i32 k = 0; k < c->count; k++)
            for (i32 at = c->parts[k].start; at < c->parts[k].end; at++) taken[at] |= mark;
    }
    return 0;
}

static int by_candidate(const void *a, const void *b) { /* stable: count holds the order while sorting */
    const Candidate *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return x->length < y->length ? -1 : x->length > y->length;
}

/* kept by place; equal places as they were chosen */
static void by_start_and_end(Candidates *rows) {
    for (Py_ssize_t i = 0; i < rows->size; i++) rows->at[i].length = (i32)i;
    if (rows->size) qsort(rows->at, (size_t)rows->size, sizeof(Candidate), by_candidate);
}

/* matcher._owner */
static i32 owner(const Owneds *owned, const Candidate *loser) {
    for (i32 k = 0; k < loser->count; k++) {
        Py_ssize_t low = BEGUN(owned, loser->parts[k].end - 1);
        if (low && owned->at[low - 1].end > loser->parts[k].start) return owned->at[low - 1].owner;
    }
    return -1;
}

/* matcher._covered and matcher._same */
static int covered(Work *w) {
    const Reader *r = w->reader;
    for (Py_ssize_t i = 0; i < w->kept.size; i++) {
        const Candidate *c = &w->kept.at[i];
        Owneds *layer = &w->owned[table(r, T_ENTRY_TRAITS, c->entry) & MASK];
        for (i32 k = 0; k < c->count; k++) ADD(Owned, layer, c->parts[k].start, c->parts[k].end, (i32)i);
    }
    for (int k = 0; k < 2; k++)
        if (w->owned[k].size) qsort(w->owned[k].at, (size_t)w->owned[k].size, sizeof(Owned), by_span);
    for (Py_ssize_t i = 0; i < w->lost.size; i++) {
        const Candidate *c = &w->lost.at[i];
        if (table(r, T_ENTRY_TRAITS, c->entry) & MASK) continue;
        i32 by = owner(&w->owned[0], c);
        if (by < 0) by = owner(&w->owned[1], c);
        if (by < 0) continue;
        const Candidate *winner = &w->kept.at[by];
        int masked = table(r, T_ENTRY_TRAITS, winner->entry) & MASK;
        int same = c->entry == winner->entry ||
                   (c->count == winner->count && !memcmp(c->parts, winner->parts, (size_t)c->count * sizeof(Span)));
        if (!masked && same && table(r, T_ENTRY_CONCEPT, c->entry) == table(r, T_ENTRY_CONCEPT, winner->entry))
            continue;
        if (drop(w, c, masked ? WHY_MASKED : WHY_COVERED, (i32)winner->entry, 0) < 0) return -1;
    }
    return 0;
}

/* the end of Matcher.read: what is neither masked nor negated */
static int count_in(Work *w) {
    const Reader *r = w->reader;
    for (Py_ssize_t i = 0; i < w->kept.size; i++) {
        const Candidate *c = &w->kept.at[i];
        if (table(r, T_ENTRY_TRAITS, c->entry) & MASK) continue;
        const Excluded *by = excluded_by(w, c->start);
        if (by) {
            if (drop(w, c, WHY_NEGATED, by->start, by->end) < 0) return -1;
        } else {
            ADD(Hit, &w->hits, c->start, c->end, c->entry, zone_at(w, c->parts[c->count - 1].start));
        }
    }
    return 0;
}

/* matcher._in_phrases */
static int in_phrases(Work *w) {
    const Reader *r = w->reader;
    u32 title = named(w, Z_TITLE);
    Py_ssize_t count = w->hits.size;
    if (!count) return 0;
    const Phrase **within = room_for(&w->scratch[S_A], (size_t)count * sizeof *within);
    uint8_t *decided = room_for(&w->scratch[S_B], (size_t)w->phrases.size + 1),
            *leads = room_for(&w->scratch[S_C], (size_t)count);
    if (!within || !decided || !leads) return -1;
    memset(decided, 0, (size_t)w->phrases.size + 1);
    memset(leads, 0, (size_t)count);
    for (Py_ssize_t i = 0; i < count; i++) {
        Hit *hit = &w->hits.at[i];
        u32 traits = table(r, T_ENTRY_TRAITS, hit->entry);
        if (traits & TITLE && !(table(r, T_ZONE_TRAITS, hit->zone) & UNTOLD) && !is_post(w, hit->start))
            hit->zone = named(w, Z_MENTION);
        within[i] = hit->zone == title ? phrase_at(w, hit->start) : NULL;
        if (within[i] && !(traits & SILENT) && heads(w, within[i], hit->start, hit->end, hit->entry))
            leads[i] = decided[within[i] - w->phrases.at] = 1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Hit *hit = &w->hits.at[i];
        if (!within[i] || leads[i] || !decided[within[i] - w->phrases.at]) continue;
        if (table(r, T_ENTRY_TRAITS, hit->entry) & (SILENT | HEAD) || !joined(w, within[i], hit->start, hit->end))
            hit->zone = named(w, Z_MODIFIER);
    }
    return 0;
}

/* matcher._promoted */
static void promote(Work *w) {
    const Reader *r = w->reader;
    for (Py_ssize_t i = 0; i < w->hits.size; i++)
        if (table(r, T_ZONE_TRAITS, w->hits.at[i].zone) & TELLING &&
            !(table(r, T_ENTRY_TRAITS, w->hits.at[i].entry) & TRAIT))
            return;
    for (Py_ssize_t i = 0; i < w->hits.size; i++)
        if (w->hits.at[i].zone == named(w, Z_REQUIREMENTS)) w->hits.at[i].zone = named(w, Z_SOLE);
}

typedef struct { i32 start, end, key, why, order, index; } Rank;

static int by_rank(const void *a, const void *b) {
    const i32 *x = a, *y = b;
    for (int i = 0; i < 5; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* One of each place, concept and reason, by place and id. */
static int unique(Work *w) {
    const Reader *r = w->reader;
    Py_ssize_t count = w->dropped.size, left = 0;
    if (!count) return 0;
    Rank *ranks = room_for(&w->scratch[S_A], (size_t)count * sizeof(Rank));
    Dropped *sorted = room_for(&w->scratch[S_B], (size_t)count * sizeof(Dropped));
    if (!ranks || !sorted) return -1;
    for (int pass = 0; pass < 2; pass++) {
        for (Py_ssize_t i = 0; i < count; i++) {
            const Dropped *d = &w->dropped.at[i];
            int key = pass ? T_ENTRY_ORDER : T_ENTRY_CONCEPT;
            ranks[i] = (Rank){d->start, d->end, (i32)table(r, key, d->entry), d->why, d->order, (i32)i};
        }
        qsort(ranks, (size_t)count, sizeof(Rank), by_rank);
        for (Py_ssize_t i = left = 0; i < count; i++)
            if (pass || !i || memcmp(&ranks[i], &ranks[i - 1], 4 * sizeof(i32)))
                sorted[left++] = w->dropped.at[ranks[i].index];
        memcpy(w->dropped.at, sorted, (size_t)left * sizeof(Dropped));
        count = left;
    }
    w->dropped.size = count;
    return 0;
}

static int read_text(Work *w) {
    if (tokenise(w) < 0 || occurrences(w) < 0 || candidates(w) < 0) return -1;
    w->told = w->length;
    if (!w->candidates.size) return 0;
    if (winning_cues(w) < 0 || zones(w) < 0 || qualify(w) < 0 || longest(w) < 0) return -1;
    by_start_and_end(&w->kept);
    if (covered(w) < 0 || exclude(w) < 0 || count_in(w) < 0 || in_phrases(w) < 0 || unique(w) < 0) return -1;
    promote(w);
    w->told = told(w);
    return 0;
}

/* ---- what Python sees ---------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *data;
    Moves moves;
} Folded;

PyTypeObject *reader_type;
static PyTypeObject *folded_type;

static void folded_dealloc(Folded *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->data);
    free(self->moves.at);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *folded_data(Folded *self, void *closure) {
    (void)closure;
    return Py_NewRef(self->data);
}

static PyObject *folded_source(Folded *self, PyObject *position) {
    long at = PyLong_AsLong(position);
    if (at == -1 && PyErr_Occurred()) return NULL;
    return PyLong_FromLong(source_of(&self->moves, (i32)at));
}

static PyGetSetDef folded_fields[] = {{"data", (getter)folded_data, NULL, "The folded bytes.", NULL}, {0}};
static PyMethodDef folded_methods[] = {
    {"source", (PyCFunction)folded_source, METH_O, "The source offset of a folded position."}, {0}};
static PyType_Slot folded_slots[] = {
    {Py_tp_dealloc, folded_dealloc}, {Py_tp_getset, folded_fields}, {Py_tp_methods, folded_methods}, {0, NULL}};
static PyType_Spec folded_spec = {"outsourcing_classifier._native.Folded", sizeof(Folded), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, folded_slots};

#define WORK_ROWS(X)                                                                                              \
    X(moves)                                                                                                      \
    X(words) X(found) X(verbs) X(objects) X(candidates) X(kept) X(lost) X(cues) X(starts) X(start_zones) X(spans) \
        X(phrases) X(excluded) X(owned[0]) X(owned[1]) X(hits) X(dropped) X(edits)

static void free_rows(Work *w) {
#define FREE(rows) free(w->rows.at);
    WORK_ROWS(FREE)
#undef FREE
    for (int i = 0; i < SCRATCHES; i++) free(w->scratch[i].at);
    memset(w, 0, sizeof *w);
}

static void reader_dealloc(Reader *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject *held[] = {self->look, self->spell, self->entries,  self->reasons,      self->languages,
                        self->ids,  self->zones, self->make_hit, self->make_dropped, self->endings};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) Py_XDECREF(held[i]);
    for (int i = 0; i < T_ALL; i++)
        if (self->views[i].obj) PyBuffer_Release(&self->views[i]);
    free(self->codes);
    free(self->letters);
    free(self->letters_at);
    free(self->lexemes);
    free(self->uses);
    free(self->jumps);
    free(self->stamps);
    free_rows(&self->spare);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

int view_of(PyObject *rows, const char *name, Py_buffer *view) {
    PyObject *row = PyDict_GetItemString(rows, name); /* borrowed */
    if (!row) return PyErr_SetString(PyExc_KeyError, name), -1;
    return PyObject_GetBuffer(row, view, PyBUF_SIMPLE);
}

/* The lexeme of a word; a new one has no class. NULL: an exception. */
static Lexeme *lexeme_of(Reader *r, u32 begin, u32 end) {
    const uint8_t *letters = r->letters + begin;
    i32 length = (i32)(end - begin);
    u32 hash = hash_of(letters, length), slot = hash & r->slot_mask, word = word_by(r, letters, length, hash);
    if (word != NONE) return &r->lexemes[word];
    if (!length || length > UINT16_MAX)
        return PyErr_SetString(PyExc_ValueError, "a word without letters, or too long"), NULL;
    while (r->lexemes[slot].length) slot = (slot + 1) & r->slot_mask;
    Lexeme *lexeme = &r->lexemes[slot];
    uint64_t head[2];
    head_of(letters, length, head);
    memcpy(lexeme->head, head, PAD);
    lexeme->class_ = NONE;
    lexeme->length = (uint16_t)length;
    if (length > PAD) r->letters_at[slot] = begin;
    return lexeme;
}

/* The vocabulary: tokens with their classes, then words that mean something else; each with one space between. */
static int take_words(Reader *r, PyObject *tokens, PyObject *special) {
    PyObject *rows[2] = {tokens, special};
    char *letters[2];
    Py_ssize_t sizes[2], words = r->sizes[T_TOKEN_CLASS] + r->sizes[T_SPECIAL_TRAITS];
    for (int i = 0; i < 2; i++)
        if (PyBytes_AsStringAndSize(rows[i], &letters[i], &sizes[i]) < 0) return -1;
    u32 slots = 64, begin = 0;
    while (slots < 2 * (u32)words + 2) slots *= 2;
    r->slot_mask = slots - 1;
    r->letters = calloc((size_t)(sizes[0] + sizes[1]) + PAD + 2, 1);
    r->letters_at = calloc(slots, sizeof(u32));
    r->lexemes = calloc(slots, sizeof(Lexeme));
    r->stamps = calloc(slots, sizeof(u32));
    if (!r->letters || !r->letters_at || !r->lexemes || !r->stamps) return -1;
    for (int i = 0; i < 2; i++) {
        u32 stop = begin + (u32)sizes[i];
        Py_ssize_t number = 0, count = r->sizes[i ? T_SPECIAL_TRAITS : T_TOKEN_CLASS];
        memcpy(r->letters + begin, letters[i], (size_t)sizes[i]);
        r->letters[stop] = ' ';
        for (u32 end = begin; end <= stop && sizes[i]; end++) {
            if (r->letters[end] != ' ') continue;
            Lexeme *lexeme = number < count ? lexeme_of(r, begin, end) : NULL;
            if (!lexeme) break;
            if (i) {
                lexeme->traits = (uint8_t)table(r, T_SPECIAL_TRAITS, number);
                lexeme->marks = (uint16_t)table(r, T_SPECIAL_MARKS, number);
            } else {
                lexeme->class_ = table(r, T_TOKEN_CLASS, number);
                if (lexeme->class_ != NONE) r->classes = (u32)most((i32)r->classes, (i32)lexeme->class_ + 1);
            }
            number++;
            begin = end + 1;
        }
        if (PyErr_Occurred()) return -1;
        if (number != count || (count && begin != stop + 1))
            return PyErr_SetString(PyExc_ValueError, "as many words as numbers are wanted"), -1;
        begin = stop + 1;
    }
    return 0;
}

/* Which words begin a term. */
static int take_starts(Reader *r) {
    u32 *starts = calloc((size_t)r->classes + 1, sizeof(u32));
    if (!starts) return -1;
    for (u32 i = table(r, T_MOVES_AT, 0); i < table(r, T_MOVES_AT, 1); i++) {
        u32 class_ = table(r, T_MOVE_CLASSES, i);
        if (class_ < r->classes) starts[class_] = table(r, T_MOVE_STATES, i) + 1;
    }
    for (u32 word = 0; word <= r->slot_mask; word++)
        if (r->lexemes[word].length && r->lexemes[word].class_ != NONE)
            r->lexemes[word].start = starts[r->lexemes[word].class_];
    free(starts);
    return 0;
}

static int take_uses(Reader *r) {
    Py_ssize_t count = r->sizes[T_VERBS];
    r->uses = calloc((size_t)count + 1, sizeof(Use));
    if (!r->uses) return -1;
    for (u32 i = 0; i < (u32)count; i++) {
        u32 set = table(r, T_VERBS, i);
        r->uses[i] =
            (Use){table(r, T_RULES_AT, i),         table(r, T_MASKS_AT, i),       table(r, T_CUES_AT, i),
                  table(r, T_OBJECTS_AT, i),       table(r, T_VERB_SETS_AT, set), row_size(r, T_RULES_AT, i),
                  row_size(r, T_MASKS_AT, i),      row_size(r, T_CUES_AT, i),     row_size(r, T_OBJECTS_AT, i),
                  row_size(r, T_VERB_SETS_AT, set)};
    }
    return 0;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    static char *keys[] = {"tables",  "words",        "special",      "look",      "spell", "entries",
                           "ids",     "first_action", "first_mask",   "languages", "zones", "reasons",
                           "endings", "make_hit",     "make_dropped", NULL};
    PyObject *tables, *words, *special, *look, *spell, *entries, *ids, *languages, *zones_, *reasons, *endings, *hit,
        *dropped;
    unsigned int first_action, first_mask;
    if (!PyArg_ParseTupleAndKeywords(
            args, names, "O!O!O!OOO!O!IIO!O!O!OOO", keys, &PyDict_Type, &tables, &PyBytes_Type, &words, &PyBytes_Type,
            &special, &look, &spell, &PyList_Type, &entries, &PyList_Type, &ids, &first_action, &first_mask,
            &PyList_Type, &languages, &PyList_Type, &zones_, &PyList_Type, &reasons, &endings, &hit, &dropped))
        return NULL;
    if (PyList_Size(languages) > MOST_LANGUAGES)
        return PyErr_Format(PyExc_ValueError, "more than %d languages", MOST_LANGUAGES);
    Reader *r = (Reader *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!r) return NULL;
    r->look = Py_NewRef(look);
    r->spell = Py_NewRef(spell);
    r->entries = Py_NewRef(entries);
    r->ids = Py_NewRef(ids);
    r->languages = Py_NewRef(languages);
    r->zones = Py_NewRef(zones_);
    r->reasons = Py_NewRef(reasons);
    r->endings = Py_NewRef(endings);
    r->make_hit = Py_NewRef(hit);
    r->make_dropped = Py_NewRef(dropped);
    r->first_action = first_action;
    r->first_mask = first_mask;
    r->languages_count = (int)PyList_Size(languages);
    for (int i = 0; i < T_ALL; i++) {
        if (view_of(tables, TABLES[i], &r->views[i]) < 0) goto failed;
        r->sizes[i] = r->views[i].len / (Py_ssize_t)sizeof(u32);
        r->tables[i] = r->views[i].buf;
    }
    for (Py_ssize_t i = 0; i < r->sizes[T_GAPS]; i++) r->widest_gap = most(r->widest_gap, (i32)r->tables[T_GAPS][i]);
    r->codes = calloc(CODE_POINTS, sizeof(u32));
    if (!r->codes || take_words(r, words, special) < 0 || take_starts(r) < 0 || take_uses(r) < 0) goto failed;
    for (i32 c = 0; c < least((i32)r->sizes[T_CODES], CODE_POINTS); c++)
        r->codes[c] = with_event((u32)c, r->tables[T_CODES][c]);
    return (PyObject *)r;
failed:
    if (!PyErr_Occurred()) PyErr_NoMemory();
    Py_DECREF(r);
    return NULL;
}

/* A text folded, for Python. */
static PyObject *make_folded(const uint8_t *data, i32 length, const Moves *moves) {
    Folded *out = (Folded *)((allocfunc)PyType_GetSlot(folded_type, Py_tp_alloc))(folded_type, 0);
    size_t size = (size_t)moves->size * sizeof(Move);
    if (!out) return NULL;
    out->data = PyBytes_FromStringAndSize((const char *)data, length);
    out->moves.at = size ? malloc(size) : NULL;
    if (!out->data || (size && !out->moves.at)) {
        if (!PyErr_Occurred()) PyErr_NoMemory();
        Py_DECREF(out);
        return NULL;
    }
    if (size) memcpy(out->moves.at, moves->at, size);
    out->moves.size = moves->size;
    return (PyObject *)out;
}

static u32 *points_of(PyObject *text, Py_ssize_t *size) {
    if (!PyUnicode_Check(text)) {
        PyObject *name = PyType_GetName(Py_TYPE(text));
        if (name) PyErr_Format(PyExc_TypeError, "text must be str, not %U", name);
        Py_XDECREF(name);
        return NULL;
    }
    *size = PyUnicode_GetLength(text);
    if (*size > LONGEST) {
        PyErr_SetString(PyExc_OverflowError, "a text of more than 50 million code points");
        return NULL;
    }
    return PyUnicode_AsUCS4Copy(text);
}

static int begin_fold(Work *w, Reader *r, PyObject *text) {
    Py_ssize_t size;
    u32 *points = points_of(text, &size);
    if (!points) return -1;
    *w = r->spare; /* Python may be called in between, and come back here: then there is none to take */
    memset(&r->spare, 0, sizeof r->spare);
#define EMPTY(rows) w->rows.size = 0;
    WORK_ROWS(EMPTY)
#undef EMPTY
    w->reader = r;
    w->source = points;
    w->source_length = (i32)size;
    if (fold(w, points, (i32)size) == 0) return 0;
    if (!PyErr_Occurred()) PyErr_NoMemory();
    end_work(w);
    return -1;
}

int begin_work(Work *w, Reader *r, PyObject *text) {
    if (begin_fold(w, r, text) < 0) return -1;
    if (read_text(w) == 0) return 0;
    end_work(w);
    PyErr_NoMemory();
    return -1;
}

void end_work(Work *w) {
    Reader *r = w->reader;
    PyMem_Free(w->source);
    w->source = NULL;
    if (r->spare.words.at || r->spare.scratch[S_RAW].at || w->source_length > MOST_SPARE)
        free_rows(w);
    else
        r->spare = *w;
}

static PyObject *reader_fold(Reader *r, PyObject *text) {
    Work w;
    if (begin_fold(&w, r, text) < 0) return NULL;
    PyObject *out = make_folded(w.data, w.length, &w.moves);
    end_work(&w);
    return out;
}

PyObject *new_object(PyObject *type, Py_ssize_t size) {
    return ((allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc))((PyTypeObject *)type, size);
}

PyObject *filled(PyObject *type, int count, ...) {
    PyObject *out = new_object(type, count);
    va_list items;
    int failed = !out;
    va_start(items, count);
    for (int i = 0; i < count; i++) {
        PyObject *item = va_arg(items, PyObject *);
        failed |= !item;
        if (!out) Py_XDECREF(item);
        else if (PyTuple_SetItem(out, i, item) < 0) failed = 1;
    }
    va_end(items);
    if (failed) Py_CLEAR(out);
    return out;
}

static PyObject *hits_of(const Work *w) {
    const Reader *r = w->reader;
    PyObject *out = PyList_New(w->hits.size);
    for (Py_ssize_t i = 0; out && i < w->hits.size; i++) {
        const Hit *h = &w->hits.at[i];
        PyObject *hit = filled(r->make_hit, 5, PyLong_FromLong(h->start), PyLong_FromLong(h->end),
                               Py_XNewRef(PyList_GetItem(r->entries, h->entry)),
                               Py_XNewRef(PyList_GetItem(r->zones, h->zone)),
                               PyBytes_FromStringAndSize((const char *)w->data + h->start, h->end - h->start));
        if (!hit || PyList_SetItem(out, i, hit) < 0) Py_CLEAR(out);
    }
    return out;
}

PyObject *because_of(const Work *w, const Dropped *d) {
    const Reader *r = w->reader;
    switch (d->why) {
    case WHY_NEGATED: return PyUnicode_DecodeASCII((const char *)w->data + d->by, d->because - d->by, NULL);
    case WHY_FOREIGN: return Py_XNewRef(PyList_GetItem(r->languages, d->by));
    case WHY_NOT_HEAD: return PyUnicode_FromString("");
    default: return Py_XNewRef(PyList_GetItem(r->ids, d->by));
    }
}

static PyObject *dropped_of(const Work *w) {
    const Reader *r = w->reader;
    PyObject *out = PyList_New(w->dropped.size);
    for (Py_ssize_t i = 0; out && i < w->dropped.size; i++) {
        const Dropped *d = &w->dropped.at[i];
        PyObject *row = filled(r->make_dropped, 6, PyLong_FromLong(d->start), PyLong_FromLong(d->end),
                               Py_XNewRef(PyList_GetItem(r->entries, d->entry)),
                               Py_XNewRef(PyList_GetItem(r->zones, d->zone)),
                               Py_XNewRef(PyList_GetItem(r->reasons, d->why)), because_of(w, d));
        if (!row || PyList_SetItem(out, i, row) < 0) Py_CLEAR(out);
    }
    return out;
}

static PyObject *reader_read(Reader *r, PyObject *text) {
    Work w;
    if (PyUnicode_Check(text) && PyUnicode_GetLength(text) > LONGEST) return Py_NewRef(Py_None);
    if (begin_work(&w, r, text) < 0) return NULL;
    PyObject *folded = make_folded(w.data, w.length, &w.moves), *hits = hits_of(&w), *dropped = dropped_of(&w);
    PyObject *out = folded && hits && dropped ? Py_BuildValue("(OOOi)", folded, hits, dropped, w.told) : NULL;
    Py_XDECREF(folded);
    Py_XDECREF(hits);
    Py_XDECREF(dropped);
    end_work(&w);
    return out;
}

static PyMethodDef reader_methods[] = {
    {"fold", (PyCFunction)reader_fold, METH_O, "Fold a text: text.Folder.fold."},
    {"read", (PyCFunction)reader_read, METH_O, "(folded, hits, dropped, told) of a text: matcher.Matcher.read; None where it is too long."},
    {0}};
static PyType_Slot reader_slots[] = {{Py_tp_new, reader_new},
                                     {Py_tp_dealloc, reader_dealloc},
                                     {Py_tp_methods, reader_methods},
                                     {Py_tp_doc, "Reads texts by the tables of a compiled rulebook."},
                                     {0, NULL}};
static PyType_Spec reader_spec = {"outsourcing_classifier._native.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT,
                                  reader_slots};

int add_reading(PyObject *module) {
    folded_type = (PyTypeObject *)PyType_FromSpec(&folded_spec);
    reader_type = (PyTypeObject *)PyType_FromSpec(&reader_spec);
    if (!folded_type || !reader_type) return -1;
    return PyModule_AddObjectRef(module, "Folded", (PyObject *)folded_type) < 0 ||
                   PyModule_AddObjectRef(module, "Reader", (PyObject *)reader_type) < 0
               ? -1
               : 0;
}
