// Streaming calls of openai-go, for tests/sdk/streams.py.
//
// Reads calls from stdin, one JSON object a line, and writes what it saw of each as JSON lines: {"head": true} once the
// stream is open, {"event": {…}} for each event, {"error": {…}} if the SDK returned one, and {"end": true}.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

type fields struct {
	Model         string `json:"model"`
	Prompt        string `json:"prompt"`
	Size          string `json:"size"`
	N             int64  `json:"n"`
	PartialImages *int64 `json:"partial_images"`
}

type call struct {
	BaseURL   string `json:"base_url"`
	APIKey    string `json:"api_key"`
	RequestID string `json:"request_id"`
	Image     string `json:"image"`
	Leave     bool   `json:"leave"`
	Fields    fields `json:"fields"`
}

type seen struct {
	Type         string `json:"type"`
	SHA256       string `json:"sha256"`
	Size         string `json:"size"`
	OutputFormat string `json:"output_format"`
}

type failure struct {
	Kind    string  `json:"kind"`
	Status  *int    `json:"status"`
	Code    *string `json:"code"`
	Message string  `json:"message"`
}

var output = json.NewEncoder(os.Stdout)

func write(name string, value any) {
	must(output.Encode(map[string]any{name: value}))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// consume writes the events of an open stream; look returns what it saw of one.
func consume[T any](stream *ssestream.Stream[T], leave bool, look func(T) seen) error {
	defer stream.Close()
	if stream.Err() != nil {
		return stream.Err()
	}
	write("head", true)
	if leave {
		return nil
	}
	for stream.Next() {
		write("event", look(stream.Current()))
	}
	return stream.Err()
}

func digest(encoded string) string {
	image, err := base64.StdEncoding.DecodeString(encoded)
	must(err)
	sum := sha256.Sum256(image)
	return hex.EncodeToString(sum[:])
}

func generated(event openai.ImageGenStreamEventUnion) seen {
	image, ok := event.AsAny().(openai.ImageGenCompletedEvent)
	if !ok {
		log.Fatalf("not an image: %s", event.Type)
	}
	return seen{string(image.Type), digest(image.B64JSON), string(image.Size), string(image.OutputFormat)}
}

func edited(event openai.ImageEditStreamEventUnion) seen {
	image, ok := event.AsAny().(openai.ImageEditCompletedEvent)
	if !ok {
		log.Fatalf("not an image: %s", event.Type)
	}
	return seen{string(image.Type), digest(image.B64JSON), string(image.Size), string(image.OutputFormat)}
}

func generate(client openai.Client, call call) error {
	given := call.Fields
	params := openai.ImageGenerateParams{
		Model:  given.Model,
		Prompt: given.Prompt,
		N:      openai.Int(given.N),
		Size:   openai.ImageGenerateParamsSize(given.Size),
	}
	if given.PartialImages != nil {
		params.PartialImages = param.NewOpt(*given.PartialImages)
	}
	return consume(client.Images.GenerateStreaming(context.Background(), params), call.Leave, generated)
}

func edit(client openai.Client, call call) error {
	file, err := os.Open(call.Image)
	must(err)
	defer file.Close()
	given := call.Fields
	params := openai.ImageEditParams{
		Model:  given.Model,
		Prompt: given.Prompt,
		N:      openai.Int(given.N),
		Size:   openai.ImageEditParamsSize(given.Size),
		Image:  openai.ImageEditParamsImageUnion{OfFile: file},
	}
	if given.PartialImages != nil {
		params.PartialImages = param.NewOpt(*given.PartialImages)
	}
	return consume(client.Images.EditStreaming(context.Background(), params), call.Leave, edited)
}

// describe writes an error of the SDK; any other is a fault of the test.
func describe(err error) {
	var refused *openai.Error
	var streamed *ssestream.StreamError
	switch {
	case errors.As(err, &refused):
		write("error", failure{"openai.Error", &refused.StatusCode, &refused.Code, refused.Message})
	case errors.As(err, &streamed):
		var data struct{ Error struct{ Code string } }
		must(json.Unmarshal(streamed.Event.Data, &data))
		write("error", failure{"ssestream.StreamError", nil, &data.Error.Code, streamed.Message})
	default:
		log.Fatal(err)
	}
}

func main() {
	calls := json.NewDecoder(os.Stdin)
	for {
		var call call
		if err := calls.Decode(&call); errors.Is(err, io.EOF) {
			return
		} else {
			must(err)
		}
		client := openai.NewClient(
			option.WithBaseURL(call.BaseURL),
			option.WithAPIKey(call.APIKey),
			option.WithHeader("x-request-id", call.RequestID),
		)
		run := generate
		if call.Image != "" {
			run = edit
		}
		if err := run(client, call); err != nil {
			describe(err)
		}
		write("end", true)
	}
}
