// The screen's words. A host says things in its own way; what an offer means is the agent's data, not its text.
"use strict";
const TEXTS = {
  en: {
    other: "中文", upToDate: "Up to date", inUse: (v) => `Version ${v}`, notInstalled: "Not installed", check: "Look for a new version",
    offer: (v) => `Version ${v} is ready`, urgent: (why) => `Important: ${why}`,
    download: (size) => `Download ${size}`, minutes: (n) => `about ${n} min; you can go on driving and using it`,
    noRights: "No new permissions", rights: (list) => `New permissions: ${list}`,
    now: "Update now", tonight: "Tonight, when charging", later: "Later", skip: "Skip this version",
    driving: "You can decide when the car is parked.", revoke: "Take it back",
    step: { rechecking: "Getting ready", fetching: "Downloading", verifying: "Checking", deploying: "Setting up", testing: "Testing",
      waiting: "Waiting", activating: "Switching over", "rolling-back": "Going back", removing: "Removing" },
    waits: { parked: "until the car is parked", charging: "until the car charges", unmetered: "for Wi-Fi", time: "until tonight", person: "paused" },
    left: (n) => `about ${n} min left`, pause: "Pause", resume: "Go on", cancel: "Cancel",
    done: (v) => `Version ${v} is in use`, failed: "The update did not succeed", same: (v) => `Version ${v} works as before. Nothing to do.`,
    cancelled: "The update was stopped", back: (v) => `Go back to ${v}`, code: (c) => `Code: ${c}`,
    lost: "No connection to the assistant's service", refused: "That is not possible now", changed: "The offer has changed. Please look again.",
  },
  zh: {
    other: "English", upToDate: "已是最新版本", inUse: (v) => `版本 ${v}`, notInstalled: "尚未安装", check: "检查新版本",
    offer: (v) => `可更新到 ${v}`, urgent: (why) => `重要：${why}`,
    download: (size) => `下载 ${size}`, minutes: (n) => `约 ${n} 分钟，期间可继续行车和使用`,
    noRights: "无新增权限", rights: (list) => `新增权限：${list}`,
    now: "现在更新", tonight: "今晚充电时", later: "以后", skip: "跳过此版本",
    driving: "停车后即可操作。", revoke: "撤回",
    step: { rechecking: "正在准备", fetching: "正在下载", verifying: "正在校验", deploying: "正在部署", testing: "正在自检",
      waiting: "等待中", activating: "正在切换", "rolling-back": "正在回退", removing: "正在卸载" },
    waits: { parked: "停车后继续", charging: "充电时继续", unmetered: "连上 Wi-Fi 后继续", time: "今晚继续", person: "已暂停" },
    left: (n) => `约剩 ${n} 分钟`, pause: "暂停", resume: "继续", cancel: "取消",
    done: (v) => `版本 ${v} 已启用`, failed: "更新未成功", same: (v) => `版本 ${v} 照常工作，无需操作。`,
    cancelled: "更新已停止", back: (v) => `回退到 ${v}`, code: (c) => `代码：${c}`,
    lost: "无法连接助手服务", refused: "现在无法这样做", changed: "更新内容已变化，请重新查看。",
  },
};
