// Opens an exported file: inflates BokehJS and the document, then sets the plots' data from the frames when the slider moves.
(() => {
  const bytes = (text) => {
    const found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
    return found;
  };

  const inflated = async (id) => {
    const text = document.getElementById(id).textContent.trim();
    const packed = Uint8Array.fromBase64?.(text) ?? bytes(atob(text));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  };
  const utf8 = new TextDecoder();

  const read = (buffer) => {
    const length = new DataView(buffer).getUint32(0, true);
    const runs = JSON.parse(utf8.decode(new Uint8Array(buffer, 4, length)));
    return { buffer, start: 4 + length, runs };
  };

  // what a column holds at a frame; `old` is what it holds now
  const value = (frames, run, column, frame, old) => {
    const begin = frames.start + run.at + column.at;
    if (column.kind === "json") {
      column.values ??= JSON.parse(utf8.decode(new Uint8Array(frames.buffer, begin, column.bytes)));
      return column.values[column.values.length > 1 ? frame : 0];
    }
    const of = (each, i) => each[each.length > 1 ? i : 0];
    const at = column.frames > 1 ? frame : 0;
    const shapes = of(column.shapes, at);
    const kind = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array }[column.kind];
    let before = 0;
    for (let i = 0; i < at; i++) before += of(column.lengths, i);
    const codes = new kind(frames.buffer, begin + before * kind.BYTES_PER_ELEMENT, of(column.lengths, at));
    let numbers = codes;
    if (column.kind !== "f4") {
      const none = column.kind === "u1" ? 255 : 65535;
      numbers = Float32Array.from(codes, (code) => (code === none ? NaN : column.low + column.step * code));
    }
    if (shapes.length === 0) return Array.from(numbers);
    const parts = [];
    let from = 0;
    for (const shape of shapes) {
      const size = shape.reduce((a, b) => a * b, 1);
      const part = numbers.slice(from, from + size);
      parts.push(shape.length === 2 ? new old[0].constructor(part, shape) : Array.from(part));
      from += size;
    }
    return parts;
  };

  const safe = (text) => text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
  let frames = null;
  let last = 0; // the point shown
  let shown = null; // the run shown
  let asked = null; // what was to be shown while the frames were not there yet

  // Shows the frame at the slider's value. Where there is none the slider goes on to the next in the direction it moved. A run
  // without frames leaves those of the run before, and is told.
  const show = (slider, select, sources, note) => {
    if (frames === null) {
      asked = [slider, select, sources, note];
      return;
    }
    const chosen = frames.runs.find((run) => String(run.run) === select.value);
    const run = chosen ?? shown;
    const name = select.options.find(([value]) => value === select.value)?.[1] ?? "";
    const told = `<p>The views show ${safe(run.name)}: this file has none of ${safe(name)}.</p>`;
    note.text = chosen || run.columns.length === 0 ? "" : told;
    note.visible = note.text !== "";
    const at = slider.value;
    let frame = run.points.indexOf(at);
    if (run.points.length > 0 && frame < 0) {
      const up = at >= last;
      frame = up ? run.points.findIndex((point) => point >= at) : run.points.findLastIndex((point) => point <= at);
      if (frame < 0) frame = up ? run.points.length - 1 : 0;
      last = run.points[frame];
      slider.value = last; // calls this again
      return;
    }
    last = at;
    shown = run;
    const news = new Map();
    for (const column of run.columns) {
      if (!news.has(column.source)) news.set(column.source, { ...sources[column.source].data });
      const data = news.get(column.source);
      data[column.column] = value(frames, run, column, frame, data[column.column]);
    }
    for (const [source, data] of news) sources[source].data = data;
  };

  const failed = (error) => {
    const told = document.createElement("p");
    told.setAttribute("role", "alert");
    told.textContent =
      typeof DecompressionStream === "undefined"
        ? "This page needs a browser from 2023 or later."
        : `This page could not be opened: ${error}`;
    document.body.prepend(told);
  };

  const open = async () => {
    const [bokeh, page] = await Promise.all(["toylab-bokeh", "toylab-page"].map(inflated));
    const script = document.createElement("script");
    script.textContent = utf8.decode(bokeh);
    document.head.append(script);
    const { docs, items } = JSON.parse(utf8.decode(page));
    await Bokeh.embed.embed_items(docs, items);
    const found = read(await inflated("toylab-frames")); // what is drawn first is in the page
    shown = found.runs[0];
    last = shown.points.at(-1) ?? 0;
    frames = found;
    if (asked !== null) show(...asked);
  };
  window.toylab = { show };
  open().catch((error) => {
    failed(error);
    throw error;
  });
})();
