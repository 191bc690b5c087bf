import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.http.StreamResponse;
import com.openai.errors.OpenAIServiceException;
import com.openai.models.images.ImageEditCompletedEvent;
import com.openai.models.images.ImageEditParams;
import com.openai.models.images.ImageGenCompletedEvent;
import com.openai.models.images.ImageGenerateParams;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;

/**
 * Streaming calls of openai-java, for tests/sdk/streams.py.
 *
 * <p>Reads calls from stdin, one JSON object a line, and writes what it saw of each as JSON lines: {"head": true} once the
 * stream is open, {"event": {…}} for each event, {"error": {…}} if the SDK threw one, and {"end": true}.
 */
public final class StreamClient {
    private static final JsonMapper JSON = new JsonMapper();
    private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private static void write(String name, Object value) throws Exception {
        OUTPUT.println(JSON.writeValueAsString(Map.of(name, value)));
    }

    private static Map<String, Object> seen(String type, String base64, String size, String outputFormat) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(Base64.getDecoder().decode(base64));
            return Map.of(
                    "type", type, "sha256", HexFormat.of().formatHex(digest),
                    "size", size, "output_format", outputFormat);
        } catch (java.security.NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static Map<String, Object> seen(ImageGenCompletedEvent event) {
        return seen(
                event._type().convert(String.class), event.b64Json(),
                event.size().asString(), event.outputFormat().asString());
    }

    private static Map<String, Object> seen(ImageEditCompletedEvent event) {
        return seen(
                event._type().convert(String.class), event.b64Json(),
                event.size().asString(), event.outputFormat().asString());
    }

    /** Writes the events of an open stream; `look` returns what it saw of one. */
    private static <T> void consume(StreamResponse<T> response, boolean leave, Function<T, Map<String, Object>> look)
            throws Exception {
        try (response) {
            write("head", true);
            if (leave) {
                return;
            }
            for (T event : (Iterable<T>) response.stream()::iterator) {
                write("event", look.apply(event));
            }
        }
    }

    private static void generate(OpenAIClient client, JsonNode call) throws Exception {
        JsonNode fields = call.get("fields");
        var params = ImageGenerateParams.builder()
                .model(fields.get("model").textValue())
                .prompt(fields.get("prompt").textValue())
                .size(ImageGenerateParams.Size.of(fields.get("size").textValue()))
                .n(fields.get("n").longValue())
                .putAdditionalHeader("x-request-id", call.get("request_id").textValue());
        if (fields.has("partial_images")) {
            params.partialImages(fields.get("partial_images").longValue());
        }
        consume(
                client.images().generateStreaming(params.build()),
                call.get("leave").booleanValue(),
                event -> seen(event.asGenerationCompleted()));
    }

    private static void edit(OpenAIClient client, JsonNode call) throws Exception {
        JsonNode fields = call.get("fields");
        var params = ImageEditParams.builder()
                .model(fields.get("model").textValue())
                .prompt(fields.get("prompt").textValue())
                .size(fields.get("size").textValue())
                .n(fields.get("n").longValue())
                .image(Path.of(call.get("image").textValue()))
                .putAdditionalHeader("x-request-id", call.get("request_id").textValue());
        if (fields.has("partial_images")) {
            params.partialImages(fields.get("partial_images").longValue());
        }
        consume(
                client.images().editStreaming(params.build()),
                call.get("leave").booleanValue(),
                event -> seen(event.asCompleted()));
    }

    private static Map<String, Object> described(OpenAIServiceException error) {
        Map<String, Object> failure = new LinkedHashMap<>();
        failure.put("kind", error.getClass().getSimpleName());
        failure.put("status", error.statusCode());
        failure.put("code", error.code().orElse(null));
        failure.put("message", error.getMessage());
        return failure;
    }

    public static void main(String[] arguments) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode call = JSON.readTree(line);
            OpenAIClient client = OpenAIOkHttpClient.builder()
                    .baseUrl(call.get("base_url").textValue())
                    .apiKey(call.get("api_key").textValue())
                    .build();
            try {
                if (call.get("image").isNull()) {
                    generate(client, call);
                } else {
                    edit(client, call);
                }
            } catch (OpenAIServiceException error) {
                write("error", described(error));
            } finally {
                client.close();
            }
            write("end", true);
        }
        System.exit(0);
    }
}
