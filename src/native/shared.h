/*
What a request costs in the ASGI middleware, in C: what the files of this module share.

    together.c   twin of what metrics.together.counted_with() returns: counts and observes one event in several ways
    exchange.c   twin of _http_exchange.Exchange: a request and its response, as they pass
    opener.c     twin of what _http_exchange.opener() returns: begins an exchange for each request
    passing.c    a message on its way, in place of the coroutines of `async def send` and `async def receive`
    module.c     the module, and where the slots of the Python classes lie

The numbers stay where metrics/cells.py keeps them, in slots of Python objects, which are read and written here without
the interpreter. What is not usual is left to the Python code, so a machine without compiler loses speed alone.

All of it relies on the interpreter's global lock: no other thread runs between two lines that call no Python.
Functions that return int return -1 where they have set an error, unless their comment says otherwise.
*/

#ifndef VITALSIGN_NATIVE_H
#define VITALSIGN_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#ifdef Py_GIL_DISABLED
#error "This module needs the global interpreter lock; vitalsign works without it."
#endif

#define WORDS(X) \
    X(type, "type") \
    X(http, "http") \
    X(headers, "headers") \
    X(method, "method") \
    X(scheme, "scheme") \
    X(HEAD, "HEAD") \
    X(route, "route") \
    X(endpoint, "endpoint") \
    X(router, "router") \
    X(fastapi, "fastapi") \
    X(effective_route_context, "effective_route_context") \
    X(response_start, "http.response.start") \
    X(response_body, "http.response.body") \
    X(request, "http.request") \
    X(disconnect, "http.disconnect") \
    X(status, "status") \
    X(trailers, "trailers") \
    X(message, "message") \
    X(body, "body") \
    X(more_body, "more_body") \
    X(storage, "_storage") \
    X(thread_local, "_thread_local") \
    X(shard, "shard") \
    X(inc, "inc") \
    X(observe, "observe") \
    X(begin_one, "_begin_one") \
    X(end_one, "_end_one") \
    X(note_extension, "_note_extension") \
    X(write_each, "_write_each") \
    X(throw_into, "throw") \
    X(close, "close") \
    X(value, "value")

typedef struct {
#define X(name, text) PyObject *name;
    WORDS(X)
#undef X
} Words;

/* Classes of the Python code, and where their slots lie, in bytes from the start of an object. */
typedef struct {
    PyTypeObject *counter, *distribution, *gauge, *recording;
    Py_ssize_t owner, count, cells, value;
    Py_ssize_t add_usual, router, method, outcome;
} Slots;

typedef struct {
    Words words;
    Slots slots;
    PyObject *cells; /* the namespace of metrics.cells, whose storage and thread-local change */
    PyObject *zero, *one, *nothing_sent, *client_gone;
    PyTypeObject *together_type, *opener_type, *passing_type, *exchange_type;
    PyObject *last_local, *last_shard; /* the shard that was found last, and where */
    uint64_t last_thread;
} State;

#define FIGURES 3

typedef struct {
    PyObject *child; /* a distribution */
    double *bounds;  /* of its buckets, after -Inf */
    Py_ssize_t length;
} Observed;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    State *state;
    PyObject *counted;
    Observed observed[FIGURES];
} Together;

typedef struct {
    PyObject_HEAD
    State *state;
    PyTypeObject *exchange_type;
    PyObject *recorder, *in_progress, *known, *find; /* the recorder, and what it has */
    PyObject *mark, *excludes, *headers, *clock, *report;
    char is_by_scheme;
} Opener;

typedef struct {
    PyObject_HEAD
    Opener *home;
    PyObject *scope, *receive, *send, *method, *gauge;
    PyObject *token; /* to take back that the request's headers are shown; NULL if they are not */
    PyObject *start, *status, *outcome, *error;
    double began, received, sent, first_byte;
    char is_open, is_ending, is_gone, is_unsized, has_trailers;
} Exchange;

typedef struct {
    PyObject_HEAD
    Exchange *exchange;
    PyObject *message; /* to the server; NULL if it is on its way from there */
    PyObject *inner;   /* what the server's send() or receive() is awaited by, meanwhile */
    char is_begun, is_running, is_done;
} Passing;

extern PyType_Spec together_spec, opener_spec, exchange_spec, passing_spec;

/* together.c */

/* Do what the count's inc() and each distribution's observe() do. */
int together_write(Together *self, const double figures[FIGURES]);

/* Add to a number that is nearly always a float. */
int add_to(PyObject **number, double amount);

/* Tell whether this process shares its metrics with no other. */
int is_alone(State *state);

/* exchange.c */

/* Add to the gauge of requests in progress; *by_call* names the method for where more than a number is to change. */
int gauge_add(State *state, PyObject *gauge, double amount, PyObject *by_call);

/* Note what is in a message that the application sends. */
int exchange_note_sent(Exchange *self, PyObject *message);

/* Note what is in a message that the server has brought. */
int exchange_note_received(Exchange *self, PyObject *message);

/* Record the request, once, whatever became of its response. */
int exchange_finish(Exchange *self);

/* opener.c */

int read_clock(Opener *home, double *now);

/* Have the error that is set reported, and go on; -1 if it is none of those that may be held up, and still set. */
int report_error(Opener *home);

/* passing.c */

/* Return a message on its way: *message* to the server, or if it is NULL, one from there. */
PyObject *pass_on(Exchange *exchange, PyObject *message);

/* Take the error that is set, as an exception. */
PyObject *take_error(void);

/* -- small things */

static inline PyObject **
slot_of(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
}

/* Put a reference into a slot, and steal it. What was there goes last: by then all is in its place. */
static inline void
put(PyObject **slot, PyObject *value)
{
    PyObject *before = *slot;
    *slot = value;
    Py_XDECREF(before);
}

/* Return what *map* has under *key*, as a new reference; NULL, without an error, if it has nothing. */
static inline PyObject *
look_up(PyObject *map, PyObject *key)
{
    if (PyDict_CheckExact(map)) {
        return Py_XNewRef(PyDict_GetItemWithError(map, key));
    }
    return PySequence_Contains(map, key) > 0 ? PyObject_GetItem(map, key) : NULL; /* which could make what is missing */
}

/* Return the same; a KeyError if it has nothing. */
static inline PyObject *
need(PyObject *map, PyObject *key)
{
    if (!PyDict_CheckExact(map)) {
        return PyObject_GetItem(map, key);
    }
    PyObject *found = look_up(map, key);
    if (found == NULL && !PyErr_Occurred()) {
        PyErr_SetObject(PyExc_KeyError, key);
    }
    return found;
}

static inline int
is_word(PyObject *text, PyObject *word)
{
    return text == word || (PyUnicode_Check(text) && PyUnicode_GET_LENGTH(text) == PyUnicode_GET_LENGTH(word)
                            && PyUnicode_Compare(text, word) == 0);
}

#endif
