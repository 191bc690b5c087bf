/* The benchmark's upstream: responds as MiniMax or as OpenAI would, with a delay on request, and counts calls.
 *
 *   stub PORT DIRECTORY
 *
 * The prompt, which every gateway forwards, says what to do: "wait=8000 response=big" responds after 8 s with the
 * body in DIRECTORY/minimax.big or DIRECTORY/openai.big, depending on the path. A request that holds DIRECTORY/upload,
 * or its base64 in DIRECTORY/upload.base64, byte for byte counts as an upload that arrived. GET /counts returns both
 * counts. One thread with epoll, so thousands of waiting calls cost nothing.
 */
#include "message.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>

struct response {
    char *name, *data;
    size_t size;
};

struct connection {
    int fd;               /* -1: the caller disconnected while it waited; freed when it is due */
    struct message in;
    struct response *out; /* what is being sent, or NULL */
    size_t sent;
    long long due;
    struct connection *next;
    struct response counts;
};

/* Calls with the same delay are due in the order of their arrival: one queue per delay, no sorting. */
struct queue {
    int delay_ms;
    struct connection *first, *last;
};

static struct response responses[16];
static struct queue queues[8];
static int epoll;
static unsigned long calls, uploads;
static char *upload, *upload_base64;
static size_t upload_size, upload_base64_size;

static void load_response(struct response *response, const char *directory, const char *name) {
    char path[512];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    char *body = read_file(path, &size);
    response->data = malloc(size + 256);
    response->size = sprintf(response->data,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", size);
    memcpy(response->data + response->size, body, size);
    response->size += size;
    response->name = strdup(name);
    free(body);
}

static void load_responses(const char *directory) {
    DIR *listing = opendir(directory);
    if (!listing) die(directory);
    int count = 0;
    for (struct dirent *file; (file = readdir(listing));)
        if ((!strncmp(file->d_name, "minimax.", 8) || !strncmp(file->d_name, "openai.", 7)) && count < 16)
            load_response(&responses[count++], directory, file->d_name);
    closedir(listing);
    char path[512];
    snprintf(path, sizeof path, "%s/upload", directory);
    upload = read_file(path, &upload_size);
    snprintf(path, sizeof path, "%s/upload.base64", directory);
    upload_base64 = read_file(path, &upload_base64_size);
}

static void close_connection(struct connection *c) {
    close(c->fd);
    free(c->in.data);
    c->in.data = NULL;
    if (c->due) c->fd = -1;
    else free(c);
}

static void watch(struct connection *c, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event)) die("epoll_ctl");
}

static void send_response(struct connection *c) {
    while (c->sent < c->out->size) {
        ssize_t n = send(c->fd, c->out->data + c->sent, c->out->size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        if (n < 0) return close_connection(c);
        c->sent += n;
    }
    c->out = NULL;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void wait_for(struct connection *c, int delay_ms) {
    struct queue *queue = queues;
    while (queue->delay_ms && queue->delay_ms != delay_ms)
        if (++queue == queues + 8) exit(2);
    queue->delay_ms = delay_ms;
    c->due = now_us() + delay_ms * 1000LL;
    c->next = NULL;
    if (queue->first) queue->last->next = c;
    else queue->first = c;
    queue->last = c;
}

/* Sends the responses that are due. Returns the milliseconds until the next one, or -1. */
static int send_due(void) {
    long long now = now_us(), next = -1;
    for (struct queue *queue = queues; queue < queues + 8 && queue->delay_ms; queue++) {
        for (struct connection *c; (c = queue->first) && c->due <= now;) {
            queue->first = c->next;
            c->due = 0;
            if (c->fd < 0) free(c);
            else send_response(c);
        }
        if (queue->first && (next < 0 || queue->first->due < next)) next = queue->first->due;
    }
    return next < 0 ? -1 : next <= now ? 0 : (int)((next - now + 999) / 1000);
}

static struct response *counted(struct connection *c) {
    static char text[512], body[128];
    int size = sprintf(body, "{\"calls\": %lu, \"uploads\": %lu}", calls, uploads);
    c->counts.data = text;
    c->counts.size = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
    return &c->counts;
}

static struct response *choose_response(struct message *in, const char *wanted) {
    char name[64];
    bool minimax = strstr(in->data, "/v1/image_generation ") != NULL;
    int length = strspn(wanted, "abcdefghijklmnopqrstuvwxyz");
    snprintf(name, sizeof name, "%s.%.*s", minimax ? "minimax" : "openai", length, wanted);
    for (struct response *response = responses; response < responses + 16 && response->data; response++)
        if (!strcmp(response->name, name)) return response;
    return NULL;
}

static void respond(struct connection *c) {
    struct message *in = &c->in;
    c->sent = 0;
    if (!strncmp(in->data, "GET /counts ", 12)) {
        c->out = counted(c);
        message_reset(in);
        return send_response(c);
    }
    char *body = message_body(in), *wait = memmem(body, in->body, "wait=", 5);
    char *wanted = wait ? strstr(wait, "response=") : NULL;
    if (!wanted || !(c->out = choose_response(in, wanted + 9))) {
        fprintf(stderr, "not understood: %.600s\n", in->data);
        return close_connection(c);
    }
    int delay_ms = atoi(wait + 5);
    calls++;
    if (in->body > upload_size)
        uploads += contains(body, in->body, upload, upload_size)
            || contains(body, in->body, upload_base64, upload_base64_size);
    message_reset(in);
    if (delay_ms) wait_for(c, delay_ms);
    else send_response(c);
}

static void accept_all(int listener) {
    for (int fd, one = 1; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void handle(struct connection *c, unsigned events) {
    if (c->out && !c->due && events & EPOLLOUT) return send_response(c);
    if (!message_read(&c->in, c->fd)) return close_connection(c);
    if (c->in.complete && !c->out) respond(c);
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("listen");
    return listener;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    load_responses(arguments[2]);
    int listener = listen_on(atoi(arguments[1]));
    epoll = epoll_create1(0);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
    for (;;) {
        int n = epoll_wait(epoll, ready, 256, send_due());
        for (int i = 0; i < n; i++) {
            if (!ready[i].data.ptr) accept_all(listener);
            else handle(ready[i].data.ptr, ready[i].events);
        }
    }
}
