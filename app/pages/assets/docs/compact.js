// A plugin of Swagger UI: leaves out of an open operation what is the same in many responses.

/** Headers are folded, and errors have no example: all of them have the form that the guide shows. */
export function compact({ React: { createElement } }) {
  const Folded = (Headers) => ({ headers, ...props }) => {
    if (!headers?.size) return null;
    return createElement(
      "details",
      { className: "folded-headers" },
      createElement("summary", {}, `${headers.size} ${headers.size === 1 ? "header" : "headers"}`),
      createElement(Headers, { headers, ...props }),
    );
  };
  const WithoutForm = (Response) => ({ response, ...props }) => {
    const shown = response.has("x-errorCodes") ? response.delete("content") : response;
    return createElement(Response, { response: shown, ...props });
  };
  return { wrapComponents: { headers: Folded, response: WithoutForm } };
}
