/* Reads one whole HTTP/1.1 message from a non-blocking socket, with a Content-Length or chunked. */
#ifndef MESSAGE_H
#define MESSAGE_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct message {
    char *data;
    size_t size, room;
    size_t head;    /* bytes up to and including the blank line; 0 until it arrives */
    size_t body;    /* bytes of the body so far, without chunk markers */
    size_t raw;     /* chunked only: offset of the bytes with chunk markers */
    long length;    /* Content-Length, or -1: chunked */
    bool complete;
};

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* The body of a complete message, terminated by a NUL that m->body does not count. */
static inline char *message_body(struct message *m) { return m->data + m->head; }

static inline void message_reset(struct message *m) {
    m->size = m->head = m->body = m->raw = 0;
    m->complete = false;
}

/* The value of a header, or NULL. `name` includes the line start and the colon: "\r\nHost:". */
static inline const char *message_header(const struct message *m, const char *name) {
    size_t n = strlen(name);
    for (const char *at = m->data; (at = strstr(at, "\r\n")) && at < m->data + m->head - 2; at += 2)
        if (!strncasecmp(at, name, n)) return at + n + strspn(at + n, " ");
    return NULL;
}

static inline void message_parse_head(struct message *m) {
    char *end = memmem(m->data, m->size, "\r\n\r\n", 4);
    if (!end) return;
    m->head = m->raw = end + 4 - m->data;
    const char *length = message_header(m, "\r\nContent-Length:");
    const char *coding = message_header(m, "\r\nTransfer-Encoding:");
    m->length = coding && !strncasecmp(coding, "chunked", 7) ? -1 : length ? atol(length) : 0;
}

/* Moves every complete chunk to the end of the body. */
static inline void message_take_chunks(struct message *m) {
    while (!m->complete) {
        char *line = m->data + m->raw, *end = memmem(line, m->size - m->raw, "\r\n", 2);
        if (!end) return;
        size_t length = strtoul(line, NULL, 16), start = end + 2 - m->data;
        if (m->size < start + length + 2) return;
        memmove(message_body(m) + m->body, m->data + start, length);
        m->body += length;
        m->raw = start + length + 2;
        m->complete = length == 0;
    }
}

static inline void message_progress(struct message *m) {
    m->data[m->size] = 0;
    if (!m->head) message_parse_head(m);
    if (!m->head) return;
    if (m->length < 0) {
        message_take_chunks(m);
    } else {
        m->body = m->size - m->head;
        m->complete = m->body >= (size_t)m->length;
    }
    if (m->complete) message_body(m)[m->body] = 0;
}

/* Reads the available bytes. False if the peer has closed; `m->complete` says whether the message is whole. */
static inline bool message_read(struct message *m, int fd) {
    while (!m->complete) {
        if (m->room < m->size + 65536) {
            m->room = 2 * m->room + 65536;
            m->data = realloc(m->data, m->room + 1);
            if (!m->data) die("realloc");
        }
        ssize_t n = recv(fd, m->data + m->size, m->room - m->size, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n <= 0) return false;
        m->size += n;
        message_progress(m);
    }
    return true;
}

/* True if `needle` is in the first `size` bytes. Long needles are found by their start: images do not repeat it. */
static inline bool contains(const char *hay, size_t size, const char *needle, size_t length) {
    size_t start = length < 48 ? length : 48;
    const char *at = memmem(hay, size, needle, start);
    return at && at + length <= hay + size && !memcmp(at, needle, length);
}

static inline char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size) die(path);
    data[*size] = 0;
    fclose(file);
    return data;
}

#endif
