// A plugin of Swagger UI: the page's own landmarks, and no control inside another one.

/** Swagger UI's own layout has a second `main`, and each operation's button holds a link that is reached by Tab. */
export function accessible({ React: { createElement } }) {
  function AccessibleLayout({ getComponent, specSelectors }) {
    const part = (name) => createElement(getComponent(name, true));
    const parts = specSelectors.loadingStatus() === "success"
      ? [part("InfoContainer"), part("AuthorizeBtnContainer"), part("operations"), part("Models")]
      : ["Loading …"];
    return createElement("div", { className: "swagger-ui" }, createElement(getComponent("SvgAssets")), part("errors"), ...parts);
  }
  return {
    components: { AccessibleLayout },
    wrapComponents: { DeepLink: () => ({ text }) => createElement("span", {}, text) },
  };
}
