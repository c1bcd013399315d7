// What Bokeh leaves out: names for assistive technology, and colours inside plots that follow the reader's light or dark.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)")
  let waiting = false
  let ink_now = ""

  const views = function* (view) {
    yield view
    for (const child of view.children?.() ?? []) yield* views(child)
  }

  const name_of = (model) => model.title?.text ?? model.title ?? model.label ?? model.name

  const name_controls = (view) => {
    const name = name_of(view.model)
    if (typeof name !== "string" || name === "") return
    const said = new DOMParser().parseFromString(name, "text/html").body.textContent
    if (view.model.type === "Figure") {
      view.el.setAttribute("role", "img")
      if (view.el.getAttribute("aria-label") !== said) view.el.setAttribute("aria-label", said)
      return
    }
    for (const one of view.shadow_el?.querySelectorAll("input, select, textarea, [role=slider], button") ?? []) {
      if (one.getAttribute("aria-label") !== said) one.setAttribute("aria-label", said)
      if (view.model.css_classes.includes("step")) one.setAttribute("aria-valuetext", said)
    }
  }

  // Bokeh's tabs can be reached by the keyboard, but not opened by it
  document.addEventListener("keydown", (event) => {
    const [target] = event.composedPath()
    if ((event.key === "Enter" || event.key === " ") && target.classList?.contains("bk-tab")) {
      event.preventDefault()
      target.click()
    }
  })

  const name_tabs = (view) => {
    view.headers_wrapper_el?.setAttribute("role", "tablist")
    for (const one of view.header_els ?? []) {
      one.setAttribute("role", "tab")
      one.setAttribute("aria-selected", `${one.classList.contains("bk-active")}`)
    }
  }

  const dress = () => {
    waiting = false
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim()
    const [quiet, rule] = ["--quiet", "--rule"].map((name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim())
    for (const doc of Bokeh.documents) {
      for (const model of doc.all_models) {
        // these two take no colour from a style sheet
        if (model.type === "Legend" && model.label_text_color !== ink) model.setv({label_text_color: ink}, {sync: false})
        if (model.type === "ColorBar" && model.major_label_text_color !== quiet) {
          model.setv({major_label_text_color: quiet}, {sync: false})
        }
        if (model.type === "MultiLine" && model.tags.includes("back") && model.line_color?.value !== rule) {
          model.setv({line_color: {value: rule}}, {sync: false})
        }
        if (model.type === "Text" && model.tags.includes("ink") && model.text_color?.value !== ink) {
          model.setv({text_color: {value: ink}}, {sync: false})
        }
      }
    }
    for (const section of document.querySelectorAll("section")) {
      const root = section.querySelector("[data-root-id]")?.firstElementChild
      section.hidden = root != null && getComputedStyle(root).display === "none"
    }
    const changed = ink_now !== "" && ink_now !== ink
    ink_now = ink
    for (const root of Bokeh.index) {
      for (const view of views(root)) {
        name_controls(view)
        if (view.model.type === "Tabs") name_tabs(view)
        if (changed && view.model.type === "Figure") view.request_repaint?.()
      }
    }
  }

  // the tags of the tabs tell Python which views are on the screen: these are drawn first
  const look = () => {
    const seen = []
    let tabs = null
    for (const root of Bokeh.index) {
      for (const view of views(root)) {
        if (view.model.type === "Tabs") tabs = view.model
        if (view.model.tags[0] !== "view") continue
        const {top, bottom, height} = view.el.getBoundingClientRect()
        if (height > 0 && bottom > 0 && top < window.innerHeight) seen.push(view.model.tags[1])
      }
    }
    if (tabs !== null && seen.join() !== tabs.tags.join()) tabs.tags = seen
  }

  const soon = () => {
    if (!waiting) setTimeout(dress, 250)
    waiting = true
  }

  const begin = () => {
    if (!window.Bokeh?.documents?.length) return void setTimeout(begin, 50)
    for (const doc of Bokeh.documents) doc.on_change(soon)
    dark.addEventListener("change", soon)
    setInterval(look, 300)
    soon()
  }
  begin()
})()
