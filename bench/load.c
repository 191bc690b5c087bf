/* Load that wrk cannot generate: many slow calls at once, calls at a fixed pace, responses compared byte for byte.
 *
 *   load PORT CONNECTIONS CALLS INTERVAL_US REQUEST EXPECTED
 *
 * Sends the bytes of the file REQUEST in CALLS calls to 127.0.0.1:PORT, on at most CONNECTIONS at once, one every
 * INTERVAL_US (0: as soon as a connection is free). A response is good if it is a 200 and holds every line of the file
 * EXPECTED. Prints one line of JSON. Times run from the connect, or the send on a kept connection, to the last byte.
 */
#include "message.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { GIVE_UP_SECONDS = 90, MAX_LINES = 16 };

struct connection {
    int fd; /* -1: none yet, or lost */
    bool busy;
    size_t sent;
    long long started;
    struct message in;
};

static int epoll, port;
static char *request, *lines[MAX_LINES];
static size_t request_size;
static int line_count, started_calls, good, bad;
static long long *took_us;

static void read_lines(const char *path) {
    size_t size;
    char *rest = read_file(path, &size);
    for (char *line; (line = strsep(&rest, "\n")) && *line && line_count < MAX_LINES;) lines[line_count++] = line;
}

static bool is_good(struct message *in) {
    if (strncmp(in->data, "HTTP/1.1 200 ", 13)) return false;
    for (int i = 0; i < line_count; i++)
        if (!contains(message_body(in), in->body, lines[i], strlen(lines[i]))) return false;
    return true;
}

static void finish(struct connection *c, bool well) {
    if (well) took_us[good++] = now_us() - c->started;
    else if (bad++ < 3) fprintf(stderr, "bad response: %.400s\n", c->in.data ? c->in.data : "none");
    const char *said = c->in.complete ? message_header(&c->in, "\r\nConnection:") : "close";
    if (c->sent < request_size || (said && !strncasecmp(said, "close", 5))) {
        close(c->fd);
        c->fd = -1;
    }
    c->busy = false;
    message_reset(&c->in);
}

static void open_connection(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect(c->fd, (struct sockaddr *)&address, sizeof address);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
}

static void send_more(struct connection *c) {
    while (c->sent < request_size) {
        ssize_t n = send(c->fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
        if (n < 0) return; /* an early response may still be readable; otherwise reading detects the loss */
        c->sent += n;
    }
}

static void start_call(struct connection *c) {
    c->busy = true;
    c->sent = 0;
    c->started = now_us();
    started_calls++;
    if (c->fd < 0) open_connection(c);
    send_more(c); /* on loopback a connect completes at once, unless the server's queue is full */
}

static void handle(struct connection *c, unsigned events) {
    if (!c->busy) { /* the server has closed a kept connection */
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            close(c->fd);
            c->fd = -1;
        }
        return;
    }
    if (events & EPOLLOUT) send_more(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    bool alive = message_read(&c->in, c->fd);
    if (c->in.complete) finish(c, is_good(&c->in));
    else if (!alive) finish(c, false);
}

/* Starts the calls that are due. Returns the milliseconds to wait at most. */
static int start_due(struct connection *all, int connections, int calls, long interval_us, long long begin) {
    for (int i = 0; i < connections && started_calls < calls; i++) {
        long long wait_us = begin + started_calls * interval_us - now_us();
        if (wait_us > 0) return (int)((wait_us + 999) / 1000);
        if (!all[i].busy) start_call(&all[i]);
    }
    return 1000;
}

static int compare(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(double share) {
    return good ? took_us[(int)(share * (good - 1) + 0.5)] / 1000.0 : 0;
}

int main(int count, char **arguments) {
    if (count != 7) return 2;
    port = atoi(arguments[1]);
    int connections = atoi(arguments[2]), calls = atoi(arguments[3]);
    long interval_us = atol(arguments[4]);
    request = read_file(arguments[5], &request_size);
    read_lines(arguments[6]);
    took_us = calloc(calls, sizeof *took_us);
    struct connection *all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) all[i].fd = -1;
    epoll = epoll_create1(0);
    struct epoll_event ready[256];
    long long begin = now_us(), give_up = begin + calls * interval_us + GIVE_UP_SECONDS * 1000000LL;
    while (good + bad < calls && now_us() < give_up) {
        int wait_ms = start_due(all, connections, calls, interval_us, begin);
        int n = epoll_wait(epoll, ready, 256, wait_ms);
        for (int i = 0; i < n; i++) handle(ready[i].data.ptr, ready[i].events);
    }
    qsort(took_us, good, sizeof *took_us, compare);
    printf("{\"calls\": %d, \"good\": %d, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
        started_calls, good, percentile_ms(0.50), percentile_ms(0.99));
    return 0;
}
